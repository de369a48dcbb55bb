import { type CallAction, type CallReading, type CallWorld, maxParts } from './call-world.ts';
import { hostOfUrl } from './shell/hosts.ts';
import { loadGrammar } from './shell/load-grammar.ts';
import { resolvePath } from './shell/paths.ts';
import { createReading } from './shell/read-script.ts';
import type { Reading } from './shell/reading.ts';
import { emptyScope } from './shell/scope.ts';
import { soundText, unknownText } from './shell/words.ts';
import type { CallPart, OpaqueCause } from './tool-call.ts';

/** Reads calls. */
export interface CallReader {
  /** Pure and total: never throws, whatever the text; what is not understood is opaque. */
  read(tool: string, actions: readonly CallAction[], world: CallWorld): CallReading;
}

/**
 * Makes a reader. Loads the shell grammar's WebAssembly once a process.
 *
 * @param options.wasmDirectory Where the grammar's files lie. Default: beside the bundle, else in the installed package.
 * @throws KontextError `KX_INTERNAL` when it cannot be loaded.
 */
export async function createCallReader(
  options: { readonly wasmDirectory?: string } = {},
): Promise<CallReader> {
  const grammar = await loadGrammar(options.wasmDirectory);
  return {
    read(tool, actions, world) {
      const mcp = actions.find((action) => action.kind === 'mcp');
      const first: CallPart = mcp
        ? { kind: 'mcp', server: mcp.server, tool: mcp.tool }
        : { kind: 'tool', name: tool };
      const reading = createReading(grammar);
      try {
        for (const action of actions) readAction(reading, action, guardWorld(world));
      } catch {
        // Never reached by any text known; a call that cannot be read is not waved through.
        reading.causes.add('unparsed');
      }
      return finishReading(first, reading);
    },
  };
}

/** A world whose answers can be trusted to come. */
function guardWorld(world: CallWorld): CallWorld {
  const known = new Map<string, string | null>();
  const realPath = (path: string): string | null => {
    const before = known.get(path);
    if (before !== undefined) return before;
    // Each answer costs a system call; a hostile text names thousands of paths.
    const real = known.size >= maxPaths ? null : askRealPath(world, path);
    known.set(path, real);
    return real;
  };
  return { ...world, realPath };
}

const maxPaths = 512;

function askRealPath(world: CallWorld, path: string): string | null {
  try {
    return path.includes('\0') ? null : world.realPath(path);
  } catch {
    return null;
  }
}

function readAction(reading: Reading, action: CallAction, world: CallWorld): void {
  switch (action.kind) {
    case 'shell':
      readShell(reading, action.command, action.shell, world);
      break;
    case 'file': {
      const resolved = resolvePath(sound(reading, action.path), world.cwd, world);
      if (resolved.unresolved || resolved.dynamic) reading.causes.add('dynamic');
      const { path, inProject } = resolved;
      reading.files.push({ kind: 'file', path, access: action.access, inProject, program: '' });
      break;
    }
    case 'fetch': {
      const host = hostOfUrl(sound(reading, action.url.trim()));
      if (host === null || host.name === unknownText) reading.causes.add('malformed');
      if (host !== null) reading.hosts.push({ kind: 'host', ...host, program: '' });
      break;
    }
    case 'mcp':
  }
}

function readShell(reading: Reading, command: string, shell: 'posix' | 'other', world: CallWorld): void {
  if (shell === 'other') {
    reading.causes.add('unparsed');
    return;
  }
  const scope = emptyScope(world);
  reading.readText(sound(reading, command), {
    ...{ via: [], pipedFrom: '', stdin: { kind: 'terminal' }, scope, straight: true, callers: [] },
  });
}

/** Text without what no shell and no file system takes; saying so when there was some. */
function sound(reading: Reading, text: string): string {
  const cleaned = soundText(text.replaceAll('\0', ''));
  if (cleaned === text) return text;
  reading.causes.add('malformed');
  return cleaned;
}

const worstFirst: readonly OpaqueCause[] = ['unreadable', 'malformed', 'unparsed', 'dynamic', 'clipped'];

/** Puts the parts together, each once; with too many, files inside the project go first. */
function finishReading(first: CallPart, { commands, files, hosts, causes }: Reading): CallReading {
  const outside = files.filter((file) => !file.inProject);
  const inProject = files.filter((file) => file.inProject);
  const all = [first, ...commands, ...hosts, ...outside, ...inProject];
  const parts = [...new Map(all.map((part) => [JSON.stringify(part), part])).values()];
  if (parts.length > maxParts) causes.add('clipped');
  return { parts: parts.slice(0, maxParts), opaque: worstFirst.filter((cause) => causes.has(cause)) };
}
