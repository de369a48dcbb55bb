import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { createPolicyEngine, type PolicyEngine, starterPolicies, type ToolCall } from './index.ts';

let engine: PolicyEngine;
beforeAll(async () => {
  engine = await createPolicyEngine();
});

const call = (more: Partial<ToolCall>): ToolCall => ({
  schema: 2,
  agentVersion: '',
  parts: [{ kind: 'tool', name: 'Bash' }],
  subagent: null,
  repository: null,
  credentials: [],
  atMs: 0,

  agent: 'claude',
  event: 'PreToolUse',
  tool: 'Bash',
  input: { command: more.command ?? null },
  command: null,
  cwd: '/home/dev/project',
  permissionMode: 'default',
  opaque: [],
  user: 'usr_1',
  org: 'org_1',
  session: 'ses_1',
  groups: [],
  role: 'member',
  ...more,
});

const examples: Record<string, { denies: Partial<ToolCall>[]; allows: Partial<ToolCall>[] }> = {
  'starter.destructive-delete': {
    denies: [
      'rm -rf build',
      'rm -fr build',
      'rm -r -f build',
      'rm -f -r build',
      'rm -Rf build',
      'rm -rfv build',
      'rm --recursive --force build',
      'rm --force --recursive build',
      'cd /tmp && sudo rm -rf /',
      '/bin/rm -rf build',
      'sh -c "rm -rf build"',
      'find . -name "*.ts" -delete',
    ].map((command) => ({ command })),
    allows: [
      'rm notes.txt',
      'rm -f notes.txt',
      'rmdir empty',
      'git rm --cached notes.txt',
      'find . -name "*.ts"',
      'ls -rf',
      '',
    ].map((command) => ({ command })),
  },
  'starter.agent-unhooked': {
    denies: [
      'claude --bare -p "go on"',
      'npx @anthropic-ai/claude-code --safe-mode',
      'CLAUDE_CODE_SIMPLE=1 claude -p hello',
      'env CLAUDE_CODE_SAFE_MODE=1 claude',
    ].map((command) => ({ command })),
    allows: ['claude --version', 'git init --bare project.git', 'grep -r bare .claude'].map((command) => ({
      command,
    })),
  },
  'starter.kontext-authority': {
    denies: [
      'kontext approve apr_1',
      'kontext trust',
      'npx kontext secrets put stripe',
      'kontext logout',
      'kontext login --insecure-storage',
      'kontext policy push',
      'kontext providers add evil',
      'kontext connect github',
      'kontext-backend user add --role owner',
    ].map((command) => ({ command })),
    allows: [
      'kontext status',
      'kontext audit tail',
      'kontext connections ls',
      'cat docs/kontext-trust.md',
      'kontext-backend --version',
      'git commit -m "kontext: trust the template"',
    ].map((command) => ({ command })),
  },
  'starter.opaque-call': {
    denies: [
      { opaque: ['unreadable'] },
      { command: `echo ${'x'.repeat(20_000)}` },
      { command: 'echo \ud800' },
      { tool: 'Write', opaque: ['unreadable'] },
      { tool: 'Write', input: { file_path: 'a', content: '\ud800' } },
      { tool: 'WebFetch', input: { url: 'x'.repeat(20_000) } },
    ],
    allows: [
      { command: 'true' },
      { tool: 'Write', input: { file_path: 'a', content: 'x'.repeat(200_000) } },
      { tool: 'Edit', input: { file_path: 'a', old_string: 'x'.repeat(20_000), new_string: '' } },
    ],
  },
};

describe('the starter policy', () => {
  const matching = Object.entries(examples).flatMap(([rule, { denies }]) =>
    denies.map((part) => ({ rule, part })),
  );
  const other = Object.entries(examples).flatMap(([rule, { allows }]) =>
    allows.map((part) => ({ rule, part })),
  );
  const shown = ({ rule, part }: { rule: string; part: Partial<ToolCall> }) =>
    [rule, JSON.stringify(part).slice(0, 90), part] as const;

  it.each(matching.map(shown))('%s denies %s', (rule, _shown, part) => {
    const decision = engine.decide(load(), call(part), 'enforce');

    expect(decision).toMatchObject({ effect: 'deny', rule, failure: null });
    expect(decision.reason).toMatch(/^it /);
  });

  it.each(other.map(shown))('%s lets pass %s', (_rule, _shown, part) => {
    expect(engine.decide(load(), call(part), 'enforce')).toMatchObject({
      effect: 'allow',
      rule: null,
      failure: null,
    });
  });

  it('has examples for every rule', () => {
    expect(Object.keys(examples)).toEqual(starterPolicies.map(({ id }) => id));
  });

  // Regenerate the module after changing the file: `npx vitest run packages/policy -u`.
  it('is the same as a TypeScript module and as the plain file', async () => {
    const file = await readFile(new URL('../policies/starter.cedar', import.meta.url), 'utf8');

    await expect(toModule(engine.parse(file))).toMatchFileSnapshot('./starter-policies.ts');
  });
});

const load = () => engine.load({ version: 1, policies: starterPolicies });

/** The module as the formatter leaves it: texts are multi-line template literals. */
function toModule(policies: readonly { id: string; text: string }[]): string {
  const quote = (text: string) => `\`${text.replace(/[\\`$]/g, '\\$&')}\``;
  const entries = policies.map(({ id, text }) => `  {\n    id: '${id}',\n    text: ${quote(text)},\n  },\n`);
  return `import type { PolicyText } from './tool-call.ts';

/** The policies of \`policies/starter.cedar\`, generated from it: a bundle has no file to read. */
export const starterPolicies: readonly PolicyText[] = [
${entries.join('')}];
`;
}
