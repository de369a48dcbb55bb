import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { readStateFile, writeStateFile } from '../state-file.ts';

/** Whose log is watched. */
export interface LogOwner {
  readonly apiUrl: string;
  readonly orgId: string;
  /** C2SP verifier key pinned at login; empty: the one of the first use. */
  readonly logKey: string;
  readonly stateDir: string;
}

/** An event of ours that the backend has acknowledged, and that no checkpoint was seen to hold yet. */
export interface PendingHead {
  readonly stream: string;
  readonly seq: number;
  /** Base64 of its chain value. */
  readonly chain: string;
  readonly acknowledgedAtMs: number;
  /** Size of the log when it did not hold the event though there had been time; null before. */
  readonly missingAt: number | null;
}

/** What the backend was caught at. */
export interface LogTrouble {
  readonly code: string;
  readonly message: string;
  readonly why: string;
  readonly atMs: number;
}

/** What this machine remembers of a log. */
export interface WitnessState {
  /** Verifier key of the first use; empty before it. */
  readonly key: string;
  /** Signed note of the newest checkpoint that was found right; empty before the first. */
  readonly note: string;
  readonly pending: readonly PendingHead[];
  /** The first trouble stays until a person has it forgotten. */
  readonly trouble: LogTrouble | null;
}

const nothing: WitnessState = { key: '', note: '', pending: [], trouble: null };
/** Streams whose end is still to be looked for; two events of each. */
const maxPending = 200;

/** One file per backend and organisation, so that no account's memory stands in another's way. */
export function witnessFile({ apiUrl, orgId, stateDir }: Omit<LogOwner, 'logKey'>): string {
  const name = createHash('sha256').update(`${apiUrl} ${orgId}`).digest('hex').slice(0, 16);
  return join(stateDir, `audit-witness-${name}.json`);
}

/** Reads what is remembered; nothing when the file is not there or cannot be read. */
export function readWitness(owner: Omit<LogOwner, 'logKey'>): WitnessState {
  const file = readStateFile(witnessFile(owner));
  if (file?.v !== 1 || file.apiUrl !== owner.apiUrl || file.org !== owner.orgId) return nothing;
  const text = (value: unknown): string => (typeof value === 'string' ? value : '');
  const pending = Array.isArray(file.pending) ? file.pending.filter(isPending) : [];
  const trouble = isTrouble(file.trouble) ? file.trouble : null;
  return { key: text(file.key), note: text(file.note), pending, trouble };
}

/**
 * Changes what is remembered, on top of what another process wrote meanwhile.
 *
 * Read, change and rename follow each other without a pause, so processes of one user hardly meet; when they do, the
 * weaker memory is that of an earlier checkpoint, which is right as well.
 *
 * @param change Gets the state as it is now; null leaves it.
 * @returns Whether it was changed.
 */
export function changeWitness(
  owner: Omit<LogOwner, 'logKey'>,
  change: (now: WitnessState) => WitnessState | null,
): boolean {
  const next = change(readWitness(owner));
  if (next === null) return false;
  const content = { v: 1, apiUrl: owner.apiUrl, org: owner.orgId, ...next };
  const kept = { ...content, pending: next.pending.slice(-maxPending) };
  writeStateFile(witnessFile(owner), JSON.stringify(kept));
  return true;
}

/** Forgets key, checkpoint and trouble: the next contact begins anew. */
export const forgetWitness = (owner: Omit<LogOwner, 'logKey'>): void =>
  rmSync(witnessFile(owner), { force: true });

/**
 * Adds an acknowledged event: of each stream the oldest and the newest one are kept, so that under steady writing there is
 * always one old enough to be looked for.
 */
export function addPending(
  pending: readonly PendingHead[],
  head: Pick<PendingHead, 'stream' | 'seq' | 'chain'>,
  nowMs: number,
): PendingHead[] {
  const ofStream = pending.filter(({ stream }) => stream === head.stream);
  if (ofStream.some(({ seq }) => seq >= head.seq)) return [...pending];
  const [oldest] = ofStream;
  const others = pending.filter(({ stream }) => stream !== head.stream);
  const next = { ...head, acknowledgedAtMs: nowMs, missingAt: null };
  return [...others, ...(oldest === undefined ? [] : [oldest]), next];
}

function isPending(value: unknown): value is PendingHead {
  if (typeof value !== 'object' || value === null) return false;
  const { stream, seq, chain, acknowledgedAtMs, missingAt } = value as Record<string, unknown>;
  return (
    typeof stream === 'string' &&
    Number.isSafeInteger(seq) &&
    typeof chain === 'string' &&
    typeof acknowledgedAtMs === 'number' &&
    (missingAt === null || Number.isSafeInteger(missingAt))
  );
}

function isTrouble(value: unknown): value is LogTrouble {
  if (typeof value !== 'object' || value === null) return false;
  const { code, message, why, atMs } = value as Record<string, unknown>;
  return [code, message, why].every((text) => typeof text === 'string') && typeof atMs === 'number';
}
