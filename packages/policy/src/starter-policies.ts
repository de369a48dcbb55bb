import type { PolicyText } from './tool-call.ts';

/** The policies of `policies/starter.cedar`, generated from it: a bundle has no file to read. */
export const starterPolicies: readonly PolicyText[] = [
  {
    id: 'starter.destructive-delete',
    text: `@id("starter.destructive-delete")
@reason("it deletes files recursively without asking; delete what you mean by name, or ask the user to do it")
forbid (principal, action == Action::"tool_call", resource)
when {
  context.command like "*rm -rf*" ||
  context.command like "*rm -fr*" ||
  context.command like "*rm -Rf*" ||
  context.command like "*rm -fR*" ||
  context.command like "*rm -r -f*" ||
  context.command like "*rm -R -f*" ||
  context.command like "*rm -f -r*" ||
  context.command like "*rm -f -R*" ||
  context.command like "*rm -r --force*" ||
  context.command like "*rm -f --recursive*" ||
  context.command like "*rm --recursive*" ||
  context.command like "*rm --force -r*" ||
  context.command like "*rm --force --recursive*" ||
  context.command like "*rm --no-preserve-root*" ||
  context.command like "*find * -delete*"
};`,
  },
  {
    id: 'starter.agent-unhooked',
    text: `@id("starter.agent-unhooked")
@reason("it starts the agent without its hooks, so nothing it does would be decided or recorded")
forbid (principal, action == Action::"tool_call", resource)
when {
  context.command like "*claude*--bare*" ||
  context.command like "*claude*--safe-mode*" ||
  context.command like "*CLAUDE_CODE_SIMPLE=1*claude*" ||
  context.command like "*CLAUDE_CODE_SAFE_MODE=1*claude*"
};`,
  },
  {
    id: 'starter.kontext-authority',
    text: `@id("starter.kontext-authority")
@reason("it changes logins, trust, secrets, providers or policy in the user's name; only the user may run it")
forbid (principal, action == Action::"tool_call", resource)
when {
  context.command like "*kontext approve*" ||
  context.command like "*kontext connect *" ||
  context.command like "*kontext connections revoke*" ||
  context.command like "*kontext deny*" ||
  context.command like "*kontext login*" ||
  context.command like "*kontext logout*" ||
  context.command like "*kontext policy push*" ||
  context.command like "*kontext providers add*" ||
  context.command like "*kontext providers rm*" ||
  context.command like "*kontext secrets put*" ||
  context.command like "*kontext trust*" ||
  context.command like "*kontext-backend org create*" ||
  context.command like "*kontext-backend user add*" ||
  context.command like "*kontext-backend keys*"
};`,
  },
  {
    id: 'starter.opaque-call',
    text: `@id("starter.opaque-call")
@reason("it is too long or malformed to be read whole; split it into smaller calls")
forbid (principal, action == Action::"tool_call", resource)
when { context.opaque }
unless {
  context.opaqueCauses == ["clipped"] &&
  ["Write", "Edit", "MultiEdit", "NotebookEdit"].contains(context.tool)
};`,
  },
];
