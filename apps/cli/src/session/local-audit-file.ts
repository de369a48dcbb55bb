/**
 * The audit file of a session without a backend: an audit bundle, version 1.
 *
 * NDJSON, UTF-8, mode 0600. Every line is one JSON object with one kind of content:
 *
 * 1. `{"kontext":"audit-bundle","v":1,"made":"local","cli":"…","createdAt":"…"}`, the first line;
 * 2. `{"stream":{"id","kind","org","session","user","agent","nonce"}}`: what the first link of the chain hashes;
 * 3. `{"intent":{"seq","id","kind","tool","decision",…,"occurredAt"}}`: written before a call is answered. Its event follows;
 *    where a killed session left none, the intent is all that is known of the call;
 * 4. `{"event":{"stream","seq","header","payload","salt","chain"}}`: the event as `packages/audit` chains it;
 * 5. `{"end":{"stream","seq","hash"}}`: the newest event, written when the session ends in order.
 *
 * Bytes are base64; header and payload are the very texts that were hashed. A reader leaves out lines of a kind it does not
 * know. Nothing is signed: the file shows by itself what was changed in part, not that all of it was written anew.
 */
import { closeSync, fdatasync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { type ChainedEvent, createStreamWriter } from '@kontext/audit';
import { createGroupSync } from '../spool/group-sync.ts';
import { createRecordWriter, type SpoolLimits } from '../spool/record-writer.ts';
import type { Spool } from '../spool/spool.ts';
import { spoolFailed } from '../spool/spool-directory.ts';
import type { UploadSource } from '../spool/upload-queue.ts';
import { cliVersion } from '../version.ts';

/** Whose events the file holds. */
export interface LocalStream {
  /** `str_…`, `org_…`, `ses_…`: made for this file. */
  readonly stream: string;
  readonly org: string;
  readonly session: string;
  readonly agent: string;
  /** 32 bytes. */
  readonly nonce: Uint8Array;
}

/** What a file is opened with. */
export interface LocalAuditOptions {
  /** Must not exist; directories above it are made, mode 0700. */
  readonly path: string;
  readonly stream: LocalStream;
  /** Default 256 MiB or 1,000,000 events: nothing is ever acknowledged here. */
  readonly limits?: SpoolLimits;
  readonly nowMs?: () => number;
}

const defaultLimits: SpoolLimits = { maxBytes: 268_435_456, maxEvents: 1_000_000 };

/** Opens the audit file of a new session. @throws KontextError `KX_SPOOL_CORRUPT` when it cannot be written. */
export function createLocalAuditFile(options: LocalAuditOptions): Spool {
  const { stream: facts, limits = defaultLimits, nowMs = Date.now } = options;
  const file = openFile(options, nowMs());
  const stream = createStreamWriter({
    orgId: facts.org,
    streamId: facts.stream,
    from: { nonce: facts.nonce },
    nowMs,
  });
  const group = createGroupSync(file.sync);
  let events = 0;
  const records = createRecordWriter({
    common: { session: facts.session, user: null, agent: facts.agent },
    ...{ limits, nowMs, stream, onLine: group.note },
    segments: {
      get bytes() {
        return file.length;
      },
      append: (entry) =>
        file.append(entry.kind === 'record' ? eventLine(facts, entry.record) : entryLine(entry)),
    },
    queue: {
      get length() {
        return events;
      },
      add: () => {
        events += 1;
      },
    },
  });
  const settle = async (): Promise<void> => {
    records.settle();
    await group.sync();
  };
  return {
    source: nothingToSend,
    intend: records.intend,
    noteServerEvent: records.noteServerEvent,
    noteTrouble: () => undefined,
    settle,
    get full() {
      return records.full;
    },
    get state() {
      return { events, bytes: file.length, lost: records.lost };
    },
    async close() {
      await settle();
      const { seq, hash } = stream.head;
      if (records.drained) writeLast(file, { end: { stream: facts.stream, seq, hash: base64(hash) } });
      await group.sync();
      group.stop();
      file.close();
      return records.drained;
    },
  };
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

const entryLine = (entry: { readonly kind: string; readonly intent?: unknown }): object =>
  entry.kind === 'intent' ? { intent: entry.intent } : {};

const eventLine = (facts: LocalStream, { seq, header, payload, salt, chain }: ChainedEvent): object => ({
  event: {
    ...{ stream: facts.stream, seq, header, payload },
    ...{ salt: salt === null ? null : base64(salt), chain: base64(chain) },
  },
});

/** A full disk: the file then reads as one whose session was killed. */
function writeLast(file: ReturnType<typeof openFile>, line: object): void {
  try {
    file.append(line);
  } catch {
    // Nothing of it stands there.
  }
}

function openFile({ path, stream }: LocalAuditOptions, nowMs: number) {
  const descriptor = openNew(path);
  let length = 0;
  const append = (line: object): void => {
    const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
    writeWhole(descriptor, bytes, length);
    length += bytes.length;
  };
  const { session, org, agent, nonce } = stream;
  try {
    const createdAt = new Date(nowMs).toISOString();
    append({ kontext: 'audit-bundle', v: 1, made: 'local', cli: cliVersion, createdAt });
    const id = stream.stream;
    append({ stream: { id, kind: 'client', org, session, user: null, agent, nonce: base64(nonce) } });
  } catch (cause) {
    closeSync(descriptor);
    throw spoolFailed(path, cause);
  }
  return {
    get length() {
      return length;
    },
    append,
    sync: () =>
      new Promise<void>((resolve, reject) => {
        fdatasync(descriptor, (error) => (error ? reject(error) : resolve()));
      }),
    close: () => closeSync(descriptor),
  };
}

function openNew(path: string): number {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    return openSync(path, 'wx', 0o600);
  } catch (cause) {
    throw spoolFailed(path, cause);
  }
}

/** A line that cannot be written whole is cut off again, so that the next one is not lost behind it. */
function writeWhole(descriptor: number, bytes: Buffer, at: number): void {
  let written = 0;
  try {
    while (written < bytes.length) {
      written += writeSync(descriptor, bytes, written, bytes.length - written, at + written);
    }
  } catch (error) {
    if (written > 0) ftruncateSync(descriptor, at);
    throw error;
  }
}

const nothingToSend: UploadSource = {
  take: () => [],
  rewind: () => undefined,
  acknowledge: () => undefined,
  resendFrom: () => true,
};
