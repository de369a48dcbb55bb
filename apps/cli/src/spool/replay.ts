/**
 * Uploads what earlier sessions left: a killed `kontext start`, a backend that was away.
 *
 * - Only spools of this user, organisation and backend, and only those whose writer is gone.
 * - An intent without record is a call that was answered but not recorded: its event is made here, with its payload
 *   missing. Made from the intent alone, it has the same bytes whoever replays it.
 * - A damaged spool is uploaded up to the damage and kept; a drained one is deleted.
 */
import { readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  type ChainedEvent,
  createStreamWriter,
  openSpoolSegment,
  type SpoolIntent,
  startSpoolSegment,
} from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { fullRedaction } from '@kontext/redaction';
import { hasLiveOwner } from '../process-mark.ts';
import { readAcknowledged } from './acknowledged.ts';
import type { SpoolFacts } from './spool.ts';
import type { AppendAnswer, AppendBatch } from './uploader.ts';
import { createUploader } from './uploader.ts';

/** What an earlier session left. */
export interface Leftover {
  readonly path: string;
  readonly facts: SpoolFacts;
  /** Events to send, in order and without gap. */
  readonly events: readonly ChainedEvent[];
  /** Events among them that were made from an intent alone. */
  readonly orphans: number;
  /** What is wrong with the rest; null when everything could be read. */
  readonly damage: string | null;
}

/** What became of the leftovers. */
export interface ReplayReport {
  readonly uploaded: number;
  readonly orphans: number;
  /** Spools that are still there, with the reason. */
  readonly kept: readonly { readonly path: string; readonly error: KontextError }[];
}

/**
 * Uploads every leftover that belongs to the caller.
 *
 * @param append Sends a batch to a stream.
 * @param deadlineMs Longest time per spool; what is not sent then stays for the next run.
 */
export async function replayLeftovers(options: {
  readonly root: string;
  readonly key: Uint8Array;
  readonly owner: Pick<SpoolFacts, 'apiUrl' | 'org' | 'user'>;
  readonly append: (streamId: string, batch: AppendBatch) => Promise<AppendAnswer>;
  readonly deadlineMs?: number;
}): Promise<ReplayReport> {
  const { root, key, owner, append, deadlineMs = 30_000 } = options;
  let uploaded = 0;
  let orphans = 0;
  const kept: { path: string; error: KontextError }[] = [];
  for (const path of listSpools(root)) {
    if (hasLiveOwner(path)) continue;
    if (isEmpty(path)) {
      rmSync(path, { recursive: true, force: true });
      continue;
    }
    const leftover = await readLeftover(path, key);
    if (leftover === null) {
      kept.push({ path, error: damaged('its first line cannot be opened with the spool key') });
      continue;
    }
    const { facts } = leftover;
    if (facts.apiUrl !== owner.apiUrl || facts.org !== owner.org || facts.user !== owner.user) continue;
    const { sent, error } = await uploadLeftover(leftover, append, deadlineMs);
    uploaded += sent;
    orphans += sent === leftover.events.length ? leftover.orphans : 0;
    const open = error ?? (leftover.damage === null ? null : damaged(leftover.damage));
    if (open === null) rmSync(path, { recursive: true, force: true });
    else kept.push({ path: setAside(path, open), error: open });
  }
  return { uploaded, orphans, kept };
}

/**
 * Reads one spool, a segment at a time: hooks are decided in this very process, and go first.
 *
 * @returns Null when not even its facts can be opened: another key, or no spool.
 */
export async function readLeftover(path: string, key: Uint8Array): Promise<Leftover | null> {
  const session = path.slice(path.lastIndexOf('/') + 1).replace(refusedSuffix, '');
  const records = new Map<number, ChainedEvent>();
  const intents = new Map<number, SpoolIntent>();
  let facts: SpoolFacts | null = null;
  let damage: string | null = null;
  for (const name of segmentFiles(path)) {
    await new Promise((resolve) => setImmediate(resolve));
    const number = Number.parseInt(name, 10);
    const segment = openSpoolSegment(readFileSync(join(path, name)), key, startSpoolSegment(session, number));
    for (const { entry } of segment.lines) {
      if (entry.kind === 'open') facts ??= entry.facts as unknown as SpoolFacts;
      else if (entry.kind === 'intent') intents.set(entry.intent.seq, entry.intent);
      else records.set(entry.record.seq, entry.record);
    }
    if (segment.corrupt !== null)
      damage ??= `${name}, line ${segment.corrupt.line}: ${segment.corrupt.reason}`;
  }
  if (facts === null || facts.session !== session) return null;
  // Behind damage an intent's record may have been sent before: made anew, it would look like a forgery.
  return { path, facts, damage, ...joinEvents(path, facts, records, damage === null ? intents : new Map()) };
}

function joinEvents(
  path: string,
  facts: SpoolFacts,
  records: ReadonlyMap<number, ChainedEvent>,
  intents: ReadonlyMap<number, SpoolIntent>,
) {
  const acknowledged = readAcknowledged(path);
  const first = records.size === 0 ? null : Math.min(...records.keys());
  // Without the side file the oldest record says where the stream stood.
  const start = acknowledged.chain === null && first !== null ? first - 1 : acknowledged.seq;
  let head = { seq: start, hash: acknowledged.chain ?? records.get(start + 1)?.prev ?? null };
  const events: ChainedEvent[] = [];
  let orphans = 0;
  for (;;) {
    const seq = head.seq + 1;
    const intent = intents.get(seq);
    const event = records.get(seq) ?? (intent === undefined ? undefined : orphanEvent(facts, head, intent));
    if (event === undefined) break;
    if (!records.has(seq)) orphans += 1;
    events.push(event);
    head = { seq, hash: event.chain };
  }
  return { events, orphans };
}

/** The call was answered; what it was beyond its names is lost. */
function orphanEvent(
  facts: SpoolFacts,
  head: { readonly seq: number; readonly hash: Buffer | null },
  { seq, id, ...fields }: SpoolIntent,
): ChainedEvent {
  const nonce = Buffer.from(facts.nonce, 'base64');
  const from = head.hash === null ? { nonce } : { head: { seq: head.seq, hash: head.hash } };
  const writer = createStreamWriter({ orgId: facts.org, streamId: facts.stream, from });
  const { session, user, agent } = facts;
  return writer.append(
    { ...fields, session, user, agent, redaction: fullRedaction, missing: 'payload' },
    null,
    {
      seq,
      id,
    },
  );
}

async function uploadLeftover(
  { facts, events }: Leftover,
  append: (streamId: string, batch: AppendBatch) => Promise<AppendAnswer>,
  deadlineMs: number,
): Promise<{ readonly sent: number; readonly error: KontextError | null }> {
  let next = 0;
  let done = 0;
  let failure: unknown = null;
  const at = (seq: number): number => events.findIndex((event) => event.seq === seq);
  const uploader = createUploader({
    source: {
      take(maxEvents) {
        const batch = events.slice(next, next + maxEvents);
        next += batch.length;
        return batch;
      },
      rewind: () => {
        next = done;
      },
      acknowledge: (seq) => {
        done = Math.max(done, at(seq) + 1);
        next = Math.max(next, done);
      },
      resendFrom(seq, chain) {
        const index = at(seq);
        const before = events[0];
        const isBefore = before !== undefined && seq === before.seq - 1;
        const ours = isBefore ? before.prev : events[index]?.chain;
        if (ours === undefined || Buffer.compare(ours, chain) !== 0) return false;
        next = index + 1;
        done = Math.max(done, next);
        return true;
      },
    },
    append: (batch) => append(facts.stream, batch),
    onState: (state) => {
      failure = state.kind === 'flowing' ? null : state.error;
    },
  });
  await uploader.flush(deadlineMs);
  uploader.close();
  if (done >= events.length) return { sent: done, error: null };
  const temporary = new KontextError('KX_TEMPORARY', 'events of an earlier session still wait for upload');
  return { sent: done, error: failure instanceof KontextError ? failure : temporary };
}

const refusedSuffix = '.refused';
const hopelessCodes = [
  'KX_SESSION_ENDED',
  'KX_NOT_FOUND',
  'KX_AUDIT_FORK',
  'KX_AUDIT_GAP',
  'KX_SPOOL_CORRUPT',
];

/** What the backend will never take is kept for a person to look at, and not offered again. */
function setAside(path: string, error: KontextError): string {
  if (!hopelessCodes.includes(error.code)) return path;
  renameSync(path, `${path}${refusedSuffix}`);
  return `${path}${refusedSuffix}`;
}

function listSpools(root: string): string[] {
  try {
    return readdirSync(root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && /^ses_[0-9a-f-]+$/.test(entry.name))
      .map((entry) => join(root, entry.name))
      .sort();
  } catch {
    return [];
  }
}

const segmentFiles = (path: string): string[] =>
  readdirSync(path)
    .filter((name) => /^\d{6}\.ndjson$/.test(name))
    .sort();

/** A process that ended before its first line was written: a spool is named once it has a writer, so none is young. */
const isEmpty = (path: string): boolean =>
  segmentFiles(path).every((name) => statSync(join(path, name)).size === 0);

const damaged = (why: string): KontextError =>
  new KontextError('KX_SPOOL_CORRUPT', 'the spool of an earlier session cannot be read whole', { why });
