import type { CommandPart, FilePart, HostPart, ToolCall } from './tool-call.ts';

/** A call of Bash that nothing is odd about, for tests. */
export const testCall = (more: Partial<ToolCall> = {}): ToolCall => ({
  ...{ schema: 2, agent: 'claude', agentVersion: '2.1.0', event: 'PreToolUse', tool: 'Bash' },
  ...{ input: { command: 'ls' }, command: 'ls', cwd: '/home/dev', permissionMode: 'default' },
  parts: [{ kind: 'tool', name: 'Bash' }],
  ...{ subagent: null, opaque: [], repository: null, credentials: [], atMs: Date.UTC(2026, 0, 7, 12) },
  ...{ user: 'usr_1', org: 'org_1', session: 'ses_1', groups: ['payments'], role: 'member' },
  ...more,
});

/** A command, for tests. */
export const testCommand = (line: string, more: Partial<CommandPart> = {}): CommandPart => {
  const [path = '', ...args] = line.split(' ');
  const flags = args.filter((arg) => arg.startsWith('-'));
  const subcommand = args.find((arg) => !arg.startsWith('-')) ?? '';
  const plain = { path, args, flags, subcommand, assigns: [], via: [], pipedFrom: '', dynamic: false };
  return { kind: 'command', program: path, ...plain, ...more };
};

/** A file that a command names, for tests. */
export const testFile = (path: string, more: Partial<FilePart> = {}): FilePart => ({
  ...{ kind: 'file', path, access: 'argument', inProject: false, program: 'cat' },
  ...more,
});

/** A host that a command talks to, for tests. */
export const testHost = (name: string, more: Partial<HostPart> = {}): HostPart => ({
  ...{ kind: 'host', name, scheme: 'https', program: 'curl' },
  ...more,
});
