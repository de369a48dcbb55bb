/**
 * What a witness asks of a log. Nothing the backend says is believed that it cannot prove:
 *
 * - a checkpoint bears the signature of the pinned key (`KX_AUDIT_SIGNATURE`);
 * - it is not shorter than one seen before (`KX_AUDIT_TRUNCATED`) and begins with all of it (`KX_AUDIT_FORK`);
 * - it holds what was acknowledged, as it was written (`KX_AUDIT_TRUNCATED`, `KX_AUDIT_FORK`, `KX_AUDIT_ALTERED`).
 */
import {
  type Checkpoint,
  chainLink,
  hashEvent,
  hashSegment,
  type Id,
  openNote,
  parseCheckpoint,
  parseVerifierKey,
  type Segment,
  sameBytes,
  verifyConsistency,
  verifyInclusion,
} from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { GetInclusionProofResponseJson, SegmentJson } from '@kontext/protocol';
import type { Calls } from '../rpc/calls.ts';

/** The calls that proofs come by. */
export type LogCalls = Pick<
  Calls,
  'getCheckpoint' | 'getConsistencyProof' | 'getInclusionProof' | 'readStream'
>;

/** Longest time of one of them. */
const timeoutMs = 15_000;

/**
 * Opens a signed note.
 *
 * @param key Pinned verifier key.
 * @param orgId Whose log it must be.
 * @throws KontextError `KX_AUDIT_SIGNATURE`.
 */
export function openCheckpoint(note: string, key: string, orgId: string): Checkpoint {
  const verifier = parseVerifierKey(key);
  if (verifier === null || !verifier.name.endsWith(`/${orgId}`)) {
    throw badSignature('its verifier key is none of this organisation');
  }
  const opened = openNote(note, [verifier]);
  if (opened === null || opened.signedBy.length === 0) {
    throw badSignature('the pinned key did not sign it');
  }
  const checkpoint = parseCheckpoint(opened.text);
  if (checkpoint === null || checkpoint.origin !== verifier.name)
    throw badSignature('what is signed is no checkpoint of this log');
  return checkpoint;
}

/**
 * Checks that a checkpoint goes on from an earlier one.
 *
 * @throws KontextError `KX_AUDIT_TRUNCATED`, `KX_AUDIT_FORK`, `KX_AUDIT_ALTERED`; and as the backend answers.
 */
export async function checkGrowth(calls: LogCalls, kept: Checkpoint, next: Checkpoint): Promise<void> {
  if (next.size < kept.size) {
    throw truncated(`it held ${kept.size} segments before and holds ${next.size} now`);
  }
  const sizes = { oldSize: kept.size, oldRoot: kept.root, size: next.size, root: next.root };
  if (next.size === kept.size) {
    if (!verifyConsistency({ ...sizes, proof: [] }))
      throw forked(`its root at size ${next.size} is another one`);
    return;
  }
  const answer = await asked(() =>
    calls.getConsistencyProof({ oldSize: String(kept.size), size: String(next.size) }, { timeoutMs }),
  );
  if (!verifyConsistency({ ...sizes, proof: (answer.proof ?? []).map(toBytes) })) {
    throw forked(
      `the log of ${next.size} segments does not begin with the ${kept.size} that were seen before`,
    );
  }
}

/** Where an event stands: its segment is proven to be in the log. */
export interface ProvenEvent {
  readonly segment: Segment;
  readonly leafIndex: number;
  readonly seq: number;
  readonly proof: readonly Uint8Array[];
}

/**
 * Gets a proof that a checkpoint holds an event's segment, and checks it.
 *
 * @param event By stream and seq, or by its id.
 * @returns Null when the log does not hold it yet.
 * @throws KontextError `KX_NOT_FOUND` when the backend knows no such event, `KX_AUDIT_ALTERED`, `KX_AUDIT_FORK`.
 */
export async function proveInLog(
  calls: LogCalls,
  checkpoint: Checkpoint,
  event: { readonly streamId: string; readonly seq: number } | { readonly eventId: string },
): Promise<ProvenEvent | null> {
  const { size, root } = checkpoint;
  const which = 'eventId' in event ? event : { streamId: event.streamId, seq: String(event.seq) };
  let answer: GetInclusionProofResponseJson;
  try {
    answer = await asked(() => calls.getInclusionProof({ ...which, size: String(size) }, { timeoutMs }));
  } catch (error) {
    if (error instanceof KontextError && error.code === 'KX_TEMPORARY') return null;
    throw error;
  }
  const segment = toSegment(answer.segment ?? {});
  const [leafIndex, seq] = [Number(answer.leafIndex ?? 0), Number(answer.seq ?? 0)];
  const proof = (answer.proof ?? []).map(toBytes);
  const isAsked = !('seq' in event) || (segment.stream === event.streamId && seq === event.seq);
  const claim = { leaf: hashSegment(segment), index: leafIndex, size, root, proof };
  if (!isAsked || seq < segment.firstSeq || seq > segment.lastSeq || !verifyInclusion(claim)) {
    throw altered(`the proof for event ${seq} of ${segment.stream} does not lead to the root`);
  }
  return { segment, leafIndex, seq, proof };
}

/**
 * Checks that an event with a chain value is what its segment holds.
 *
 * A segment ends with the last event of a batch. When that is a later one, the events between are read, and chained from ours on.
 *
 * @throws KontextError `KX_AUDIT_FORK` when the segment goes through another event.
 */
export async function checkHead(
  calls: LogCalls,
  { segment, seq }: ProvenEvent,
  chain: Uint8Array,
): Promise<void> {
  const between = await readHeaders(calls, segment.stream, seq + 1, segment.lastSeq);
  const reached = between.reduce<Uint8Array>((link, header) => chainLink(link, hashEvent(header)), chain);
  if (between.length !== segment.lastSeq - seq || !sameBytes(reached, segment.head)) {
    throw forked(`the log holds another event ${seq} of ${segment.stream} than was acknowledged`);
  }
}

/**
 * Reads an event of a proven segment and checks that it is in it, between the segment's chain values.
 *
 * @returns Its header, the exact text.
 * @throws KontextError `KX_AUDIT_ALTERED`.
 */
export async function readProvenEvent(calls: LogCalls, { segment, seq }: ProvenEvent): Promise<string> {
  const { stream, firstSeq, lastSeq, prev, head } = segment;
  const headers = await readHeaders(calls, stream, firstSeq, lastSeq);
  const reached = headers.reduce<Uint8Array>((link, header) => chainLink(link, hashEvent(header)), prev);
  const header = headers[seq - firstSeq];
  if (headers.length !== lastSeq - firstSeq + 1 || header === undefined || !sameBytes(reached, head)) {
    throw altered(`the events ${firstSeq} to ${lastSeq} of ${stream} are not those that the log holds`);
  }
  return header;
}

const pageSize = 500;

/** Headers of some events, as many as there are without gap. */
async function readHeaders(calls: LogCalls, streamId: string, from: number, to: number): Promise<string[]> {
  const headers: string[] = [];
  for (let seq = from; seq <= to; seq = from + headers.length) {
    const request = { streamId, fromSeq: String(seq), pageSize: Math.min(pageSize, to - seq + 1) };
    const { events = [] } = await calls.readStream(request, { timeoutMs });
    const inOrder = events.filter(({ event }, at) => Number(event?.seq ?? 0) === seq + at);
    headers.push(...inOrder.map(({ event }) => event?.header ?? ''));
    if (inOrder.length === 0 || inOrder.length < events.length) break;
  }
  return headers.slice(0, to - from + 1);
}

/** A size that was signed and that the backend calls none of its log's: it holds another log than the one it signed. */
async function asked<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof KontextError && error.code === 'KX_REQUEST_INVALID') {
      throw forked('the backend cannot prove a checkpoint that its log has signed');
    }
    throw error;
  }
}

function toSegment({ streamId = '', firstSeq, lastSeq, prev = '', head = '' }: SegmentJson): Segment {
  const [first, last] = [Number(firstSeq ?? 0), Number(lastSeq ?? 0)];
  return {
    stream: streamId as Id<'str'>,
    firstSeq: first,
    lastSeq: last,
    prev: toBytes(prev),
    head: toBytes(head),
  };
}

const toBytes = (text: string): Uint8Array => Buffer.from(text, 'base64');

/** The log ends before what was seen or acknowledged. */
export const truncated = (why: string): KontextError =>
  new KontextError('KX_AUDIT_TRUNCATED', 'the audit log of the organisation was cut off', { why, hint });

/** The log has another history than before. */
const forked = (why: string): KontextError =>
  new KontextError('KX_AUDIT_FORK', 'the audit log of the organisation was rewritten', { why, hint });

const altered = (why: string): KontextError =>
  new KontextError('KX_AUDIT_ALTERED', 'the audit log of the organisation cannot prove what it holds', {
    why,
    hint,
  });

/** Not signed by the key that was pinned. */
export const badSignature = (why: string): KontextError =>
  new KontextError('KX_AUDIT_SIGNATURE', 'a checkpoint of the audit log is not signed as it must be', {
    why,
    hint,
  });

const hint =
  'keep this machine as it is and tell whoever runs the backend; `kontext audit checkpoint` shows what was seen before';
