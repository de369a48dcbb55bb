import type { CallWorld } from '../call-world.ts';
import type { CommandPart, FilePart, HostPart, OpaqueCause } from '../tool-call.ts';
import { flagsOf, keepArgs, subcommandOf } from './describe-command.ts';
import { fileArguments, isPlainDevice } from './file-arguments.ts';
import { hostArguments, type NamedHost } from './hosts.ts';
import type { LateEvaluation } from './late-evaluation.ts';
import { type ResolvedPath, resolvePath } from './paths.ts';
import type { Scope } from './scope.ts';
import type { ShellNode, ShellTree } from './syntax-tree.ts';
import { type Field, unknownText } from './words.ts';

/** What a command reads when it is given nothing else. */
export type Stdin =
  | { readonly kind: 'terminal' }
  /** A file that is named: a part of its own. */
  | { readonly kind: 'file' }
  /** What another program writes. */
  | { readonly kind: 'unknown' }
  | { readonly kind: 'text'; readonly text: string };

/** Where a command stands. */
export interface Place {
  /** Wrappers around it, outermost first. */
  readonly via: readonly string[];
  /** Program whose output it reads; empty without. */
  readonly pipedFrom: string;
  readonly stdin: Stdin;
  readonly scope: Scope;
  /** Whether it certainly runs, once, before what follows. */
  readonly straight: boolean;
  /** Functions it is called by, so that none is read into itself. */
  readonly callers: readonly string[];
}

/** What is known of a command for what comes behind it. */
export interface Outcome {
  /** Program that wrote last; U+FFFD when only running tells; empty when none ran. */
  readonly program: string;
  /** What it writes; null when only running tells. */
  readonly prints: string | null;
}

/** Nothing ran. */
export const noOutcome: Outcome = { program: '', prints: null };

/** One call while it is read: what was found so far, and what may still be spent. */
export interface Reading {
  readonly commands: CommandPart[];
  readonly files: FilePart[];
  readonly hosts: HostPart[];
  readonly causes: Set<OpaqueCause>;
  /** Over all texts: a value set in one may be evaluated in another. */
  readonly late: LateEvaluation;
  /** Reads a text of its own at a place. */
  readonly readText: (text: string, place: Place) => Outcome;
  /** Reads a node of a tree at a place. */
  readonly readNode: (tree: ShellTree, node: ShellNode, place: Place) => Outcome;
}

/** A command and where it stands. */
export interface FoundCommand {
  readonly program: string;
  readonly path: string;
  /** All of its arguments. */
  readonly args: readonly Field[];
  /** Those that are its own, when it runs another command with the rest. */
  readonly ownArgs: readonly string[];
  /** Whether it runs another command with what is not its own; that one is then its subcommand. */
  readonly wraps: boolean;
  readonly assigns: readonly string[];
}

/** Notes a command, the files and the hosts its arguments name. */
export function noteCommand(reading: Reading, found: FoundCommand, place: Place): void {
  const { program, path, args, ownArgs, wraps, assigns } = found;
  const texts = args.map((arg) => arg.text);
  const kept = keepArgs(texts);
  if (kept.clipped) reading.causes.add('clipped');
  const files = fileArguments(program, ownArgs).flatMap((text) => resolveAll(reading, text, place.scope));
  const unknownFile = files.some((file) => file.dynamic);
  reading.commands.push({
    kind: 'command',
    program,
    path,
    args: kept.args,
    subcommand: wraps ? (kept.args[ownArgs.length] ?? '') : subcommandOf(program, kept.args),
    flags: flagsOf(ownArgs),
    assigns: [...new Set(assigns)],
    via: place.via,
    pipedFrom: place.pipedFrom,
    dynamic: program === '' || unknownFile || args.some((arg) => arg.dynamic),
  });
  for (const { path: file, inProject } of files) {
    reading.files.push({ kind: 'file', path: file, access: 'argument', inProject, program });
  }
  for (const host of hostArguments(program, ownArgs)) noteHost(reading, host, program);
}

/** Notes a host. */
export function noteHost(reading: Reading, { name, scheme }: NamedHost, program: string): void {
  reading.hosts.push({ kind: 'host', name, scheme, program });
}

/** Notes the target of a redirection; `/dev/tcp/host/port` is a host. */
export function noteRedirection(
  reading: Reading,
  target: Field,
  access: 'read' | 'write',
  program: string,
  scope: Scope,
): void {
  const socket = /^\/dev\/(tcp|udp)\/([^/]+)\//.exec(target.text);
  if (socket !== null) {
    const [, scheme = '', name = ''] = socket;
    noteHost(reading, { name: name.toLowerCase(), scheme }, program);
    return;
  }
  if (isPlainDevice(target.text)) return;
  for (const { path, inProject } of resolveAll(reading, target.text, scope)) {
    reading.files.push({ kind: 'file', path, access, inProject, program });
  }
}

function resolveAll(reading: Reading, text: string, scope: Scope): readonly ResolvedPath[] {
  return scope.directories.map((directory) => {
    const resolved = resolvePath(text, directory, scope.world);
    // Which file a loop of links means is nowhere to be seen.
    if (resolved.unresolved) reading.causes.add('dynamic');
    return resolved;
  });
}

/** Notes a command of which only running tells the program: nothing can be said about the call any more. */
export function noteUnknownCommand(
  reading: Reading,
  argv: readonly Field[],
  assigns: readonly string[],
  place: Place,
): Outcome {
  const [program, ...args] = argv;
  reading.causes.add('dynamic');
  const ownArgs = args.map((arg) => arg.text);
  noteCommand(
    reading,
    { program: '', path: program?.text ?? '', args, ownArgs, wraps: false, assigns },
    place,
  );
  return { program: unknownText, prints: null };
}

/** A place inside of a wrapper. */
export const inside = (place: Place, wrapper: string, more: Partial<Place> = {}): Place => ({
  ...place,
  via: [...place.via, wrapper],
  ...more,
});

/** The same place on another machine, or behind another root: no path of this one means anything. */
export function elsewhere(scope: Scope): Scope {
  const world: CallWorld = { cwd: null, home: null, projectRoot: null, realPath: (path) => path };
  return {
    ...scope,
    variables: new Map(),
    aliases: new Map(),
    functions: new Map(),
    world,
    directories: [null],
  };
}
