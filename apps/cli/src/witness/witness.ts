import type { Checkpoint } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { GetCheckpointResponseJson } from '@kontext/protocol';
import type { AppendAnswer, AppendBatch } from '../spool/uploader.ts';
import {
  badSignature,
  checkGrowth,
  checkHead,
  type LogCalls,
  openCheckpoint,
  proveInLog,
  truncated,
} from './check-log.ts';
import {
  addPending,
  changeWitness,
  type LogOwner,
  type LogTrouble,
  type PendingHead,
  readWitness,
  type WitnessState,
} from './witness-state.ts';

/** What a contact found right. */
export interface Contact {
  /** Null when the organisation's log has no checkpoint yet. */
  readonly checkpoint: Checkpoint | null;
  readonly note: string;
  /** Verifier key it is signed by; empty when there is none yet. */
  readonly key: string;
  /** The key was not pinned before; it is now. */
  readonly pinnedNow: boolean;
  /** Acknowledged events that the log does not hold yet. */
  readonly waiting: number;
}

/** This machine as a witness of an organisation's log: it remembers, and finds out when the log was rewritten. */
export interface Witness {
  /**
   * Hears of an upload: remembers what was acknowledged and, at most every five seconds, looks at the log. Never waits, never
   * throws.
   */
  noteAck(streamId: string, batch: AppendBatch, answer: AppendAnswer): void;
  /**
   * Looks at the log now: signature, growth since the checkpoint that is remembered, and the acknowledged events of ours. What
   * is found right is remembered; trouble is remembered, too, and then the checkpoint stays the old one.
   *
   * @throws KontextError `KX_AUDIT_SIGNATURE`, `KX_AUDIT_TRUNCATED`, `KX_AUDIT_FORK`, `KX_AUDIT_ALTERED`; and as the backend
   *   answers, when it could not be asked.
   */
  contact(): Promise<Contact>;
  /** Writes down what was acknowledged. @returns The trouble there is, null when none. */
  close(): KontextError | null;
}

/** What a witness needs. */
export interface WitnessOptions {
  readonly calls: LogCalls;
  readonly owner: LogOwner;
  /** Default `Date.now`. */
  readonly nowMs?: () => number;
}

const contactEveryMs = 5_000;
/** The log holds what was acknowledged within a second or two. */
const settledAfterMs = 10_000;
/** Proofs asked for in one contact. */
const maxProofs = 20;
/** Another process may remember something newer meanwhile, and then the look is repeated from there. */
const maxAttempts = 3;

/** Makes the witness; nothing is read or sent before it is used. */
export function createWitness({ calls, owner, nowMs = Date.now }: WitnessOptions): Witness {
  let acknowledged: PendingHead[] = [];
  let lastContactMs = Number.NEGATIVE_INFINITY;
  let running: Promise<unknown> | null = null;
  const look = async (offered: string): Promise<Contact> => {
    lastContactMs = nowMs();
    const fresh = acknowledged;
    try {
      const found = await lookAtLog({ calls, owner, nowMs }, offered, fresh);
      // Written down by now, unless they were proven.
      acknowledged = acknowledged.filter((head) => !fresh.some((known) => isSame(known, head)));
      return found;
    } catch (error) {
      remember(owner, fresh, asTrouble(error, nowMs()));
      throw error;
    }
  };
  return {
    noteAck(streamId, { events }, { status, checkpoint = '' }) {
      const last = events.at(-1);
      if (last === undefined || (status !== 'ok' && status !== 'dup')) return;
      const head = { stream: streamId, seq: last.seq, chain: Buffer.from(last.chain).toString('base64') };
      acknowledged = addPending(acknowledged, head, nowMs());
      if (running !== null || Math.abs(nowMs() - lastContactMs) < contactEveryMs) return;
      running = look(checkpoint)
        // Trouble is remembered; what could not be asked is asked again.
        .catch(() => undefined)
        .finally(() => {
          running = null;
        });
    },
    contact: () => look(''),
    close() {
      remember(owner, acknowledged, null);
      acknowledged = [];
      return describeTrouble(readWitness(owner).trouble);
    },
  };
}

/** The trouble that is remembered of a log, as an error to show; null when there is none. */
export function describeTrouble(trouble: LogTrouble | null): KontextError | null {
  if (trouble === null) return null;
  const { code, message, why, atMs } = trouble;
  if (!isLogCode(code)) return null;
  return new KontextError(code, message, {
    why: `${why}; seen ${new Date(atMs).toISOString()}`,
    hint: 'tell whoever runs the backend; once it is explained, `kontext audit checkpoint --forget` begins anew',
  });
}

const logCodes = ['KX_AUDIT_SIGNATURE', 'KX_AUDIT_TRUNCATED', 'KX_AUDIT_FORK', 'KX_AUDIT_ALTERED'] as const;
const isLogCode = (code: string): code is (typeof logCodes)[number] =>
  (logCodes as readonly string[]).includes(code);

const asTrouble = (error: unknown, atMs: number): LogTrouble | null =>
  error instanceof KontextError && isLogCode(error.code)
    ? { code: error.code, message: error.message, why: error.why, atMs }
    : null;

/** What cannot be written is remembered by this process alone. */
function remember(owner: LogOwner, fresh: readonly PendingHead[], trouble: LogTrouble | null): void {
  if (fresh.length === 0 && trouble === null) return;
  try {
    changeWitness(owner, (now) => ({
      ...now,
      pending: merge(now.pending, fresh),
      trouble: now.trouble ?? trouble,
    }));
  } catch {
    // A full disk costs the memory, not the session.
  }
}

const merge = (pending: readonly PendingHead[], fresh: readonly PendingHead[]): PendingHead[] =>
  fresh.reduce<PendingHead[]>((all, head) => addPending(all, head, head.acknowledgedAtMs), [...pending]);

async function lookAtLog(
  options: Required<WitnessOptions>,
  offered: string,
  fresh: readonly PendingHead[],
): Promise<Contact> {
  const { owner } = options;
  for (let attempt = 1; ; attempt += 1) {
    // Before the backend is asked: what it answers is then newer than what is remembered.
    const before = readWitness(owner);
    const found = await askForCheckpoint(options, before, attempt === 1 ? offered : '');
    if (found === null) {
      remember(owner, fresh, null);
      return {
        checkpoint: null,
        note: '',
        key: before.key,
        pinnedNow: false,
        waiting: before.pending.length,
      };
    }
    const { checkpoint, note, key } = found;
    const pending = await checkPending(options, checkpoint, merge(before.pending, fresh));
    const changed = changeWitness(owner, (now) => {
      if (now.note !== before.note && attempt < maxAttempts) return null;
      const added = now.pending.filter((head) => !before.pending.some((known) => isSame(known, head)));
      return { key, note, pending: merge(pending, added), trouble: now.trouble };
    });
    if (changed) {
      return {
        checkpoint,
        note,
        key,
        pinnedNow: before.key === '' && owner.logKey === '',
        waiting: pending.length,
      };
    }
  }
}

const isSame = (one: PendingHead, other: PendingHead): boolean =>
  one.stream === other.stream && one.seq === other.seq;

/** The newest checkpoint, signed by the pinned key and grown from the one that is remembered; null when there is none yet. */
async function askForCheckpoint({ calls, owner }: WitnessOptions, before: WitnessState, offered: string) {
  let key = pinnedKey(owner, before);
  const kept = before.note === '' ? null : openCheckpoint(before.note, key, owner.orgId);
  let note = offered;
  // One that came with an answer may be a second old, and shorter than what another session has seen.
  const isShorter = (): boolean => openCheckpoint(note, key, owner.orgId).size < (kept?.size ?? 0);
  if (note === '' || key === '' || isShorter()) {
    const answer = await calls.getCheckpoint({}, { timeoutMs: 15_000 }).catch((error: unknown) => {
      // An older backend does not know the call. One that kept a log before cannot become so.
      const isOld = error instanceof KontextError && error.code === 'KX_NOT_A_BACKEND';
      if (isOld && kept === null) return {} as GetCheckpointResponseJson;
      throw error;
    });
    note = answer.note ?? '';
    const offeredKey = answer.verifierKey ?? '';
    if (key !== '' && offeredKey !== '' && offeredKey !== key) {
      throw badSignature(
        `the backend signs with another key than the pinned one: ${offeredKey}, pinned: ${key}`,
      );
    }
    if (key === '') key = offeredKey;
  }
  if (note === '' && kept !== null)
    throw truncated(`it held ${kept.size} segments before and has no checkpoint now`);
  if (note === '') return null;
  const checkpoint = openCheckpoint(note, key, owner.orgId);
  if (kept !== null) await checkGrowth(calls, kept, checkpoint);
  return { checkpoint, note, key };
}

/** @throws KontextError `KX_AUDIT_SIGNATURE` when login and first use do not agree. */
function pinnedKey({ logKey }: LogOwner, { key }: WitnessState): string {
  if (logKey !== '' && key !== '' && logKey !== key) {
    throw badSignature(`at login the backend named another key than before: ${logKey}, before: ${key}`);
  }
  return logKey === '' ? key : logKey;
}

/**
 * Looks for acknowledged events in the log.
 *
 * What was acknowledged is stored, so the backend knows it. That the log does not hold it yet says something only once it had
 * time, and then grew without it.
 *
 * @returns Those that are still to be looked for.
 */
async function checkPending(
  { calls, nowMs }: Required<WitnessOptions>,
  checkpoint: Checkpoint,
  pending: readonly PendingHead[],
): Promise<PendingHead[]> {
  const isDue = ({ acknowledgedAtMs }: PendingHead): boolean =>
    Math.abs(nowMs() - acknowledgedAtMs) >= settledAfterMs;
  const due = pending.filter(isDue).slice(0, maxProofs);
  const open = pending.filter((head) => !due.includes(head));
  for (const head of due) {
    const proven = await proveInLog(calls, checkpoint, { streamId: head.stream, seq: head.seq }).catch(
      (error: unknown) => {
        const isGone = error instanceof KontextError && error.code === 'KX_NOT_FOUND';
        throw isGone
          ? truncated(`event ${head.seq} of ${head.stream} was acknowledged and is not there`)
          : error;
      },
    );
    if (proven !== null) await checkHead(calls, proven, Buffer.from(head.chain, 'base64'));
    else if (head.missingAt !== null && checkpoint.size > head.missingAt) {
      throw truncated(`event ${head.seq} of ${head.stream} was acknowledged, and the log grew without it`);
    } else open.push({ ...head, missingAt: checkpoint.size });
  }
  return open;
}
