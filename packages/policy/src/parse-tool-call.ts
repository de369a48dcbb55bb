/**
 * Reads the call that an event recorded, so that it can be decided again.
 *
 * What was recorded came from a developer's machine: every member is checked, none is trusted, and what is not exactly
 * the shape of {@link ToolCall} is not decided at all.
 */
import { maxParts } from './call-world.ts';
import type { CallPart, OpaqueCause, Repository, ToolCall } from './tool-call.ts';

/** A call, or why there is none: one of a few sentences, so that they can be counted. */
export type ParsedToolCall = { readonly call: ToolCall } | { readonly notReproducible: string };

const notRecorded = 'the call was not recorded';
const clipped = 'the call was too long to be recorded whole';
const beforeParts = 'recorded before calls had parts';
const newer = 'recorded by a newer version';
const malformed = 'the record is malformed';

/**
 * Reads a recorded call.
 *
 * @param value The member `call` of an event's payload, as parsed JSON.
 */
export function parseToolCall(value: unknown): ParsedToolCall {
  if (value === undefined || value === null) return { notReproducible: notRecorded };
  if (!isRecord(value)) return { notReproducible: malformed };
  if (typeof value.clipped === 'string') return { notReproducible: clipped };
  if (value.schema === 1) return { notReproducible: beforeParts };
  if (Number.isSafeInteger(value.schema) && (value.schema as number) > 2) return { notReproducible: newer };
  try {
    return { call: toolCall(value) };
  } catch (error) {
    if (error instanceof Malformed) return { notReproducible: malformed };
    throw error;
  }
}

class Malformed extends Error {}

type Members = Readonly<Record<string, unknown>>;

const isRecord = (value: unknown): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function toolCall(value: Members): ToolCall {
  if (value.schema !== 2 || !Object.hasOwn(value, 'input')) throw new Malformed();
  return {
    schema: 2,
    agent: text(value.agent),
    agentVersion: text(value.agentVersion),
    event: text(value.event),
    tool: text(value.tool),
    input: value.input,
    command: textOrNull(value.command),
    parts: parts(value.parts),
    cwd: textOrNull(value.cwd),
    permissionMode: textOrNull(value.permissionMode),
    subagent: textOrNull(value.subagent),
    opaque: list(value.opaque, (cause) => oneOf(cause, opaqueCauses)),
    repository: value.repository === null ? null : repository(value.repository),
    credentials: list(value.credentials, text),
    atMs: moment(value.atMs),
    user: text(value.user),
    org: text(value.org),
    session: text(value.session),
    groups: list(value.groups, text),
    role: text(value.role),
  };
}

const opaqueCauses: readonly OpaqueCause[] = ['unreadable', 'malformed', 'unparsed', 'dynamic', 'clipped'];
const accesses = ['read', 'write', 'argument'] as const;

function parts(value: unknown): readonly CallPart[] {
  const read = list(value, part);
  if (read.length === 0 || read.length > maxParts) throw new Malformed();
  return read;
}

function part(value: unknown): CallPart {
  if (!isRecord(value)) throw new Malformed();
  switch (value.kind) {
    case 'tool':
      return { kind: 'tool', name: text(value.name) };
    case 'mcp':
      return { kind: 'mcp', server: text(value.server), tool: text(value.tool) };
    case 'command':
      return {
        kind: 'command',
        program: text(value.program),
        path: text(value.path),
        args: list(value.args, text),
        subcommand: text(value.subcommand),
        flags: list(value.flags, text),
        assigns: list(value.assigns, text),
        via: list(value.via, text),
        pipedFrom: text(value.pipedFrom),
        dynamic: flag(value.dynamic),
      };
    case 'file':
      return {
        kind: 'file',
        path: text(value.path),
        access: oneOf(value.access, accesses),
        inProject: flag(value.inProject),
        program: text(value.program),
      };
    case 'host':
      return {
        kind: 'host',
        name: text(value.name),
        scheme: text(value.scheme),
        program: text(value.program),
      };
    default:
      throw new Malformed();
  }
}

function repository(value: unknown): Repository {
  if (!isRecord(value)) throw new Malformed();
  return { name: text(value.name), branch: text(value.branch) };
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new Malformed();
  return value;
}

const textOrNull = (value: unknown): string | null => (value === null ? null : text(value));

function flag(value: unknown): boolean {
  if (typeof value !== 'boolean') throw new Malformed();
  return value;
}

function oneOf<T extends string>(value: unknown, known: readonly T[]): T {
  const found = known.find((one) => one === value);
  if (found === undefined) throw new Malformed();
  return found;
}

/** A list without holes, of at most ten thousand. */
function list<T>(value: unknown, read: (item: unknown) => T): readonly T[] {
  if (!Array.isArray(value) || value.length > 10_000) throw new Malformed();
  return Array.from(value, read);
}

/** Last instant whose year Cedar's datetime can spell. */
const lastMs = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

function moment(value: unknown): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > lastMs)
    throw new Malformed();
  return value;
}
