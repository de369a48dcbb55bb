import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import {
  bundleLine,
  coverLeaves,
  createId,
  createStreamWriter,
  deriveColumns,
  type EventKind,
  emptyFrontier,
  formatCheckpoint,
  formatNote,
  formatVerifierKey,
  hashSegment,
  type NoteVerifier,
  parseHeader,
  type Segment,
  toVerifier,
} from '../index.ts';
import { appendLeaves, hashNode, rootOf } from '../log/merkle-tree.ts';

/** A log of an organisation in memory, whole, with its key. */
export interface TestLog {
  readonly org: string;
  readonly origin: string;
  readonly key: string;
  readonly streams: readonly TestStream[];
  /** In order of the log, with the events of each. */
  readonly leaves: readonly { readonly segment: Segment; readonly rows: readonly TestRow[] }[];
  rootAt(size: number): Buffer;
  /** A checkpoint signed by the log's key, or another one. */
  note(size: number, signer?: TestSigner): string;
}

/** A stream with its facts. */
export interface TestStream {
  readonly id: string;
  readonly kind: 'client' | 'server' | 'admin';
  readonly org: string;
  readonly session: string | null;
  readonly nonce: Buffer;
}

/** An event as a store has it. */
export interface TestRow {
  readonly seq: number;
  readonly header: string;
  readonly payload: string | null;
  readonly salt: Buffer | null;
  readonly chain: Buffer;
}

/** A key that signs checkpoints. */
export interface TestSigner {
  readonly verifier: NoteVerifier;
  readonly privateKey: KeyObject;
}

/** Makes a key for a log of that name. */
export function createTestSigner(name: string): TestSigner {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  return { verifier: toVerifier(name, raw), privateKey };
}

/**
 * @param segments Per segment the stream it is of and how many events it has; stream 0 is the organisation's own.
 * @param tool Name in the events of clients.
 * @param kindAt Kind of the nth event of a segment of a client.
 */
export function createTestLog(
  segments: readonly { readonly stream: number; readonly events: number }[],
  tool = 'Bash',
  kindAt: (n: number) => EventKind = () => 'tool_call.decided',
): TestLog {
  const org = createId('org');
  const origin = `kontext.example/${org}`;
  const signer = createTestSigner(origin);
  const count = Math.max(...segments.map(({ stream }) => stream)) + 1;
  const streams = Array.from({ length: count }, (_, at): TestStream => {
    const kind = at === 0 ? 'admin' : 'client';
    return {
      id: createId('str'),
      kind,
      org,
      session: at === 0 ? null : createId('ses'),
      nonce: randomBytes(32),
    };
  });
  const writers = streams.map((stream) => {
    const owner = { session: stream.session, user: createId('usr') };
    return createStreamWriter({ orgId: org, streamId: stream.id, from: { nonce: stream.nonce }, owner });
  });
  const leaves = segments.map(({ stream: at, events }) => {
    const [stream, writer] = [pick(streams, at), pick(writers, at)];
    const prev = writer.head;
    const rows = Array.from({ length: events }, (_, n) => {
      const kind = at === 0 ? 'agent.changed' : kindAt(n);
      return writer.append({ kind, tool: at === 0 ? null : tool }, n % 3 === 2 ? null : `{"n":${n}}`);
    });
    const segment = {
      stream: stream.id as Segment['stream'],
      ...{ firstSeq: prev.seq + 1, lastSeq: writer.head.seq, prev: prev.hash, head: writer.head.hash },
    };
    return { segment, rows };
  });
  const hashes = leaves.map(({ segment }) => hashSegment(segment));
  const rootAt = (size: number): Buffer => rootOf(appendLeaves(emptyFrontier, hashes.slice(0, size)).tree);
  return {
    ...{ org, origin, key: formatVerifierKey(signer.verifier), streams, leaves, rootAt },
    note(size, by = signer) {
      const text = formatCheckpoint({ origin, size, root: rootAt(size) });
      return formatNote(text, by.verifier, sign(null, Buffer.from(text), by.privateKey));
    },
  };
}

/** Writes the bundle of a log. @param only Indexes of streams to be in it; default: all, as a whole export. */
export function writeTestBundle(log: TestLog, only?: readonly number[]): string[] {
  const size = log.leaves.length;
  const wanted = new Set((only ?? [...log.streams.keys()]).map((at) => pick(log.streams, at).id));
  const facts = {
    org: log.org,
    log: log.origin,
    size,
    query: '',
    payloads: true,
    createdAt: '2026-01-01T00:00:00.000Z',
  };
  const lines = [
    bundleLine.facts({ ...facts, scope: only === undefined ? 'whole' : 'part' }),
    bundleLine.key(log.key),
    bundleLine.checkpoint(log.note(size)),
  ];
  const counts = { streams: 0, segments: 0, events: 0 };
  let skipFrom = 0;
  const skipTo = (to: number): void => {
    if (to > skipFrom) lines.push(bundleLine.skip(skipFrom, to, coverHashes(log, skipFrom, to)));
    skipFrom = to;
  };
  for (const [leaf, { segment, rows }] of log.leaves.entries()) {
    if (!wanted.has(segment.stream)) continue;
    skipTo(leaf);
    skipFrom = leaf + 1;
    const stream = pick(
      log.streams.filter(({ id }) => id === segment.stream),
      0,
    );
    if (segment.firstSeq === 1) {
      counts.streams += 1;
      lines.push(bundleLine.stream(stream));
    }
    counts.segments += 1;
    lines.push(bundleLine.segment(leaf, segment));
    for (const row of rows) {
      counts.events += 1;
      const columns = deriveColumns(parseHeader(row.header));
      lines.push(
        bundleLine.event({ stream: stream.id, receivedAt: '2026-01-01T00:00:00.000Z', columns, ...row }),
      );
    }
    const goesOn = log.leaves.slice(leaf + 1).some((later) => later.segment.stream === stream.id);
    if (!goesOn) lines.push(bundleLine.end(stream.id, { seq: segment.lastSeq, hash: segment.head }));
  }
  skipTo(size);
  return [...lines, doneLine(lines, counts)];
}

/** Writes the last line anew, as somebody would who changes a bundle and knows its format. */
export function withDone(lines: readonly string[]): string[] {
  const before = lines.filter((line) => !line.startsWith('{"done"'));
  const count = (type: string): number => before.filter((line) => line.startsWith(`{"${type}"`)).length;
  return [
    ...before,
    doneLine(before, { streams: count('stream'), segments: count('segment'), events: count('event') }),
  ];
}

function doneLine(
  lines: readonly string[],
  counts: { streams: number; segments: number; events: number },
): string {
  const sha256 = createHash('sha256').update(lines.join('')).digest();
  return bundleLine.done({ ...counts, lines: lines.length, sha256 });
}

function coverHashes(log: TestLog, from: number, to: number): Buffer[] {
  return coverLeaves(from, to).map(({ level, index }) => {
    let hashes = log.leaves
      .slice(index * 2 ** level, (index + 1) * 2 ** level)
      .map(({ segment }) => hashSegment(segment));
    while (hashes.length > 1)
      hashes = hashes.flatMap((left, at) => (at % 2 === 0 ? [hashNode(left, pick(hashes, at + 1))] : []));
    return pick(hashes, 0);
  });
}

function pick<T>(list: readonly T[], index: number): T {
  const found = list[index];
  if (found === undefined) throw new TypeError('no such element');
  return found;
}
