/**
 * Reads the lines of a bundle, strictly: a field that is absent or of a wrong type makes the line unreadable, and so does another
 * spelling than that of {@link bundleLine}. With a key that stands there twice, or one that nothing checks, a line could show
 * another event to a reader than the one that was verified.
 */
import type { Id } from '../ids.ts';
import { isId } from '../ids.ts';
import type { Segment } from '../log/segment.ts';
import type { StoredColumns } from '../stored-columns.ts';
import type { StreamHead } from '../stream-writer.ts';
import {
  type BundleEvent,
  type BundleFacts,
  type BundleStream,
  type BundleSums,
  bundleLine,
} from './bundle-format.ts';
import { readPlainEvent } from './plain-event.ts';
import { noBundle } from './read-lines.ts';

/** A line that was read. */
export type BundleLine =
  | { readonly type: 'key'; readonly key: string }
  | { readonly type: 'checkpoint'; readonly note: string }
  | { readonly type: 'stream'; readonly stream: BundleStream }
  | { readonly type: 'segment'; readonly leaf: number; readonly segment: Segment }
  | { readonly type: 'event'; readonly event: Omit<BundleEvent, 'receivedAt'> }
  | {
      readonly type: 'skip';
      readonly from: number;
      readonly to: number;
      readonly nodes: readonly Uint8Array[];
    }
  | { readonly type: 'end'; readonly stream: string; readonly head: StreamHead }
  | { readonly type: 'done'; readonly sums: BundleSums };

type Fields = Readonly<Record<string, unknown>>;

/** What a field that cannot be read throws; never leaves this file. */
class Unreadable extends Error {}

/**
 * Reads the first line.
 *
 * @returns Null when it is that of a local file (`"made":"local"`), which is verified otherwise.
 * @throws KontextError `KX_BUNDLE_INVALID` when it is no bundle's, of another version, or lacks something.
 */
export function parseFirstLine(text: string): BundleFacts | null {
  const fields = toFields(text);
  if (fields?.kontext !== 'audit-bundle') throw noBundle('its first line is not that of an audit bundle');
  if (fields.v !== 1) throw noBundle(`it has version ${shown(fields.v)}, and this program reads version 1`);
  if (fields.made === 'local') return null;
  try {
    const facts: BundleFacts = {
      org: id('org', fields.org),
      log: string(fields.log),
      size: count(fields.size),
      scope: oneOf(['whole', 'part'] as const, fields.scope),
      query: string(fields.query),
      payloads: oneOf([true, false] as const, fields.payloads),
      createdAt: string(fields.createdAt),
    };
    return spelled(bundleLine.facts(facts), text, facts);
  } catch {
    throw noBundle('its first line lacks something, or is of another program');
  }
}

/** Reads any other line; null when it cannot be read. */
export function parseBundleLine(text: string): BundleLine | null {
  const event = readPlainEvent(text);
  return event === null ? parseAnyLine(text) : { type: 'event', event };
}

/** {@link parseBundleLine} of any line, however its texts are escaped; exported for the test that compares the two. */
export function parseAnyLine(text: string): BundleLine | null {
  const fields = toFields(text);
  const [key = '', ...others] = fields === null ? [] : Object.keys(fields);
  const read = Object.hasOwn(readers, key) ? readers[key as keyof typeof readers] : undefined;
  if (fields === null || read === undefined || others.length > 0) return null;
  try {
    return read(fields[key], text);
  } catch (error) {
    if (error instanceof Unreadable) return null;
    throw error;
  }
}

const readers = {
  key: (value: unknown, text: string): BundleLine => {
    const key = string(value);
    return spelled(bundleLine.key(key), text, { type: 'key', key });
  },
  checkpoint: (value: unknown, text: string): BundleLine => {
    const note = string(value);
    return spelled(bundleLine.checkpoint(note), text, { type: 'checkpoint', note });
  },
  stream: (value: unknown, text: string): BundleLine => {
    const stream = toStream(object(value));
    return spelled(bundleLine.stream(stream), text, { type: 'stream', stream });
  },
  segment: (value: unknown, text: string): BundleLine => {
    const fields = object(value);
    const [leaf, segment] = [count(fields.leaf), toSegment(fields)];
    return spelled(bundleLine.segment(leaf, segment), text, { type: 'segment', leaf, segment });
  },
  event: (value: unknown, text: string): BundleLine => {
    const fields = object(value);
    const event = toEvent(fields);
    if (spellEvent(fields, object(fields.columns)) !== text) throw new Unreadable();
    return { type: 'event', event };
  },
  skip: (value: unknown, text: string): BundleLine => {
    const { nodes: given, ...fields } = object(value);
    if (!Array.isArray(given) || given.length > 128) throw new Unreadable();
    const [from, to, nodes] = [count(fields.from), count(fields.to), given.map((node) => bytes(node, 32))];
    return spelled(bundleLine.skip(from, to, nodes), text, { type: 'skip', from, to, nodes });
  },
  end: (value: unknown, text: string): BundleLine => {
    const { stream: named, seq, hash } = object(value);
    const [stream, head] = [string(named), { seq: count(seq), hash: bytes(hash, 32) }];
    return spelled(bundleLine.end(stream, head), text, { type: 'end', stream, head });
  },
  done: (value: unknown, text: string): BundleLine => {
    const { lines, streams, segments, events, sha256 } = object(value);
    const hex = string(sha256);
    const sums = {
      ...{ lines: count(lines), streams: count(streams), segments: count(segments), events: count(events) },
      sha256: Buffer.from(hex, 'hex'),
    };
    if (sums.sha256.length !== 32) throw new Unreadable();
    return spelled(bundleLine.done(sums), text, { type: 'done', sums });
  },
} as const;

/** @param line What the writer would write of it, with its line feed. */
function spelled<T>(line: string, text: string, read: T): T {
  if (line.length !== text.length + 1 || !line.startsWith(text)) throw new Unreadable();
  return read;
}

/** As {@link bundleLine} does, without turning bytes into base64 again: most lines are events. */
function spellEvent(fields: Fields, columns: Fields): string {
  const { stream, seq, header, payload, salt, chain, receivedAt } = fields;
  const { eventId, kind, sessionId, userId, tool, decision } = columns;
  const own = { eventId, kind, sessionId, userId, tool, decision };
  return JSON.stringify({ event: { stream, seq, header, payload, salt, chain, receivedAt, columns: own } });
}

function toStream({ id: streamId, kind, org, session, nonce }: Fields): BundleStream {
  return {
    id: id('str', streamId),
    kind: oneOf(['client', 'server', 'admin'] as const, kind),
    org: id('org', org),
    session: session === null ? null : id('ses', session),
    nonce: bytes(nonce, null),
  };
}

function toSegment({ stream, firstSeq, lastSeq, prev, head }: Fields): Segment {
  const segment = {
    stream: id('str', stream),
    ...{ firstSeq: count(firstSeq), lastSeq: count(lastSeq), prev: bytes(prev, 32), head: bytes(head, 32) },
  };
  if (segment.firstSeq < 1 || segment.lastSeq < segment.firstSeq) throw new Unreadable();
  return segment;
}

function toEvent(fields: Fields): BundleEvent {
  return {
    receivedAt: string(fields.receivedAt),
    stream: string(fields.stream),
    seq: count(fields.seq),
    header: string(fields.header),
    payload: fields.payload === null ? null : string(fields.payload),
    salt: fields.salt === null ? null : bytes(fields.salt, null),
    chain: bytes(fields.chain, null),
    columns: toColumns(object(fields.columns)),
  };
}

function toColumns({ eventId, kind, sessionId, userId, tool, decision }: Fields): StoredColumns {
  const text = (value: unknown): string | null => (value === null ? null : string(value));
  return {
    ...{ eventId: text(eventId), kind: text(kind), sessionId: text(sessionId), userId: text(userId) },
    ...{ tool: text(tool), decision: text(decision) },
  };
}

function toFields(text: string): Fields | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function object(value: unknown): Fields {
  if (!isObject(value)) throw new Unreadable();
  return value;
}

/** Not by `String`, which a value with a `toString` of its own makes throw. */
const shown = (value: unknown): string => (JSON.stringify(value) ?? 'none').slice(0, 40);

function string(value: unknown): string {
  if (typeof value !== 'string') throw new Unreadable();
  return value;
}

function count(value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new Unreadable();
  return value as number;
}

function id<P extends 'org' | 'str' | 'ses'>(prefix: P, value: unknown): Id<P> {
  if (!isId(prefix, value)) throw new Unreadable();
  return value;
}

function oneOf<const T>(values: readonly T[], value: unknown): T {
  const found = values.find((known) => known === value);
  if (found === undefined) throw new Unreadable();
  return found;
}

/** Base64 in its one spelling. @param length Null: any. */
function bytes(value: unknown, length: number | null): Buffer {
  const text = string(value);
  const decoded = Buffer.from(text, 'base64');
  if (decoded.toString('base64') !== text || (length !== null && decoded.length !== length))
    throw new Unreadable();
  return decoded;
}
