/** What each tool of Claude Code does, told from its input, as of 2.1.330. */
import type { CallAction } from '@kontext/policy';
import type { AgentEvent, ToolReading } from './agent.ts';
import { isObject } from './merge-settings.ts';

/** Name under which a question of an MCP server is decided; no tool is called so. */
export const elicitationTool = 'Elicitation';

/** Tools that run nothing but a shell command. */
export const shellTools: readonly string[] = ['Bash', 'PowerShell'];

/** Tools that read or write the file one member names. */
const fileTools: Readonly<Record<string, { readonly member: string; readonly access: 'read' | 'write' }>> = {
  Read: { member: 'file_path', access: 'read' },
  Write: { member: 'file_path', access: 'write' },
  Edit: { member: 'file_path', access: 'write' },
  MultiEdit: { member: 'file_path', access: 'write' },
  NotebookEdit: { member: 'notebook_path', access: 'write' },
  NotebookRead: { member: 'notebook_path', access: 'read' },
  LS: { member: 'path', access: 'read' },
  LSP: { member: 'filePath', access: 'read' },
  EnterWorktree: { member: 'path', access: 'read' },
  Workflow: { member: 'scriptPath', access: 'read' },
};

/** Tools that search below a directory, and the member with the pattern of files; both may leave the directory. */
const searchTools: Readonly<Record<string, string>> = { Glob: 'pattern', Grep: 'glob' };

/** Tools whose `command` is no shell's: a slash command is a prompt. */
const promptTools: readonly string[] = ['SlashCommand', 'Skill', 'Agent', 'Task'];

/** Most commands that are taken from the input of one call of an MCP server; with more, what it runs cannot be told. */
const maxCommands = 256;

/**
 * Says what a call is about. A tool that stands nowhere here is about nothing, but for a `command`, which is read as a
 * shell's: rather a command too many than one unseen.
 */
export function readTool(call: Pick<AgentEvent, 'tool' | 'input' | 'mcpServer'>): ToolReading {
  const { tool, mcpServer } = call;
  const input = isObject(call.input) ? call.input : {};
  if (tool === null) return { command: null, actions: [] };
  const mcp = mcpOf(tool, mcpServer);
  if (mcp !== null) {
    const commands = commandsIn(call.input);
    const first = commands[0];
    const command = first?.kind === 'shell' ? first.command : null;
    const fetched = tool === elicitationTool ? fetchOf(input.url) : [];
    return { command, actions: [mcp, ...commands, ...fetched] };
  }
  const shell = shellOf(tool, input);
  const command = shell?.command ?? null;
  return { command, actions: [...(shell === null ? [] : [shell]), ...otherActions(tool, input)] };
}

type JsonObject = Readonly<Record<string, unknown>>;
type ShellAction = Extract<CallAction, { kind: 'shell' }>;

function shellOf(tool: string, { command }: JsonObject): ShellAction | null {
  if (typeof command !== 'string' || promptTools.includes(tool)) return null;
  return { kind: 'shell', command, shell: tool === 'PowerShell' ? 'other' : 'posix' };
}

function otherActions(tool: string, input: JsonObject): CallAction[] {
  if (tool === 'WebFetch') return fetchOf(input.url);
  // A monitor may listen to a socket instead of running a command.
  if (tool === 'Monitor') return fetchOf(isObject(input.ws) ? input.ws.url : undefined);
  const file = Object.hasOwn(fileTools, tool) ? fileTools[tool] : undefined;
  if (file !== undefined) return fileOf(input[file.member], file.access);
  const pattern = Object.hasOwn(searchTools, tool) ? searchTools[tool] : undefined;
  return pattern === undefined ? [] : searchOf(input.path, input[pattern]);
}

const fetchOf = (url: unknown): CallAction[] => (typeof url === 'string' ? [{ kind: 'fetch', url }] : []);
const fileOf = (path: unknown, access: 'read' | 'write'): CallAction[] =>
  typeof path === 'string' ? [{ kind: 'file', path, access }] : [];

/** The directory, which is the working one when none is named, and where the pattern leads out of it to. */
function searchOf(directory: unknown, pattern: unknown): CallAction[] {
  const base = typeof directory === 'string' && directory !== '' ? directory : '.';
  const found = fileOf(base, 'read');
  if (typeof pattern !== 'string') return found;
  const [plain = ''] = pattern.split(/[*?[{]/, 1);
  const lead = plain.slice(0, plain.lastIndexOf('/') + 1);
  if (/^[/~]/.test(lead)) return [...found, ...fileOf(lead, 'read')];
  return lead === '' ? found : [...found, ...fileOf(`${base}/${lead}`, 'read')];
}

/**
 * Server and tool of `mcp__server__tool`. Either may hold two underscores, so the server's own name decides where it ends;
 * without it the first two do, as in the agent.
 */
function mcpOf(tool: string, mcpServer: string | null): CallAction | null {
  if (tool === elicitationTool && mcpServer !== null) {
    return { kind: 'mcp', server: mcpServer, tool: 'elicitation' };
  }
  if (!tool.startsWith('mcp__')) return null;
  const rest = tool.slice('mcp__'.length);
  const spelled = (mcpServer ?? '').replaceAll(/[^a-zA-Z0-9_-]/g, '_');
  if (mcpServer !== null && spelled !== '' && rest.startsWith(`${spelled}__`)) {
    return { kind: 'mcp', server: mcpServer, tool: rest.slice(spelled.length + 2) };
  }
  const end = rest.indexOf('__');
  const server = end < 0 ? rest : rest.slice(0, end);
  return { kind: 'mcp', server: mcpServer ?? server, tool: end < 0 ? '' : rest.slice(end + 2) };
}

/** Every member named `command`, at any depth: a text for a shell, or a list of words. */
function commandsIn(root: unknown): ShellAction[] {
  const found: ShellAction[] = [];
  let level: unknown[] = [root];
  while (level.length > 0) {
    const next: unknown[] = [];
    for (const value of level) {
      if (typeof value !== 'object' || value === null) continue;
      const command = isObject(value) ? commandText(value.command) : null;
      if (command !== null) found.push({ kind: 'shell', command, shell: 'posix' });
      if (found.length > maxCommands) return [{ kind: 'shell', command: '', shell: 'other' }];
      for (const member of Object.values(value)) next.push(member);
    }
    level = next;
  }
  return found;
}

function commandText(value: unknown): string | null {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value) || value.length === 0) return null;
  const words = value.filter((word): word is string => typeof word === 'string');
  return words.length === value.length ? words.map(quote).join(' ') : null;
}

const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

/** Tools into whose input the prompt writes what its user answers. */
const answeredTools: readonly string[] = ['AskUserQuestion', 'ExitPlanMode'];

/**
 * What stays in every case: the file of a file tool, whose user may edit the text in the prompt; nothing of a question,
 * which takes the answers.
 */
export function steadyInput(tool: string, input: unknown): unknown {
  if (answeredTools.includes(tool)) return null;
  const file = Object.hasOwn(fileTools, tool) ? fileTools[tool] : undefined;
  return file?.access === 'write' && isObject(input) ? input[file.member] : input;
}
