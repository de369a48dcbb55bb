import { createCallReader } from '../call-reader.ts';
import type { CallAction, CallWorld } from '../call-world.ts';
import type { CommandPart, FilePart, HostPart } from '../tool-call.ts';

const reader = await createCallReader();

/** A machine without links. */
export const plainWorld: CallWorld = {
  cwd: '/home/dev/shop',
  home: '/home/dev',
  projectRoot: '/home/dev/shop',
  realPath: (path) => path,
};

/** What was read of a call, sorted by kind. */
export interface Found {
  readonly commands: readonly CommandPart[];
  readonly files: readonly FilePart[];
  readonly hosts: readonly HostPart[];
  readonly opaque: readonly string[];
  /** Every command as one line, in order. */
  readonly lines: readonly string[];
}

/** Reads one action. */
export function readAction(action: CallAction, world: CallWorld = plainWorld): Found {
  const { parts, opaque } = reader.read('Bash', [action], world);
  const commands = parts.filter((part) => part.kind === 'command');
  const files = parts.filter((part) => part.kind === 'file');
  const hosts = parts.filter((part) => part.kind === 'host');
  const lines = commands.map(({ path, args }) => [path, ...args].join(' '));
  return { commands, files, hosts, opaque, lines };
}

/** Reads a text for bash. */
export const readBash = (command: string, world: CallWorld = plainWorld): Found =>
  readAction({ kind: 'shell', command, shell: 'posix' }, world);

/** A word in single quotes. */
export const singleQuoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
