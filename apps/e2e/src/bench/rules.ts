/**
 * A hundred rules as an organisation might write them: about programs, arguments, files, hosts and tools. None matches a
 * plain `ls`, so that every one is looked at.
 */
export function hundredRules(): string {
  return Array.from({ length: 100 }, (_, number) => ruleOf(number)).join('\n\n');
}

function ruleOf(number: number): string {
  const shapes = [
    `resource is Command) when { resource.line like "*deploy-${number} *--prod*" };`,
    `resource == Command::"tool-${number}") when { resource.flags.contains("--force") };`,
    `resource is File) when { resource.path like "*/secrets-${number}/*" && resource.access == "write" };`,
    `resource is Host) when { resource.name like "*.service-${number}.example" };`,
    `resource) when { context.command like "*danger-${number}*" && context.branch == "main" };`,
  ];
  const shape = shapes[number % shapes.length] ?? '';
  return `@id("bench.rule-${number}")\n@reason("rule ${number} of the bench")\nforbid (principal, action == Action::"tool_call", ${shape}`;
}
