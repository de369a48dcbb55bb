/**
 * The sequencer: puts accepted segments into their organisation's log, then signs how long it is now.
 *
 * - Leaves, nodes, frontier and root are one transaction under the log's lock; a root is stored once per size. Two replicas
 *   that run at once follow each other, and one that dies leaves nothing half done: whoever comes next goes on.
 * - Signing comes after the commit, because the key may be across a network. A root whose signer died is signed by the next run.
 */
import { appendLeaves, formatCheckpoint, formatNote, hashSegment, type Id, rootOf } from '@kontext/audit';
import {
  findNewestCheckpoint,
  listUnsignedLogs,
  listWaitingLogs,
  lockLog,
  readLog,
  readWaitingSegments,
  setCheckpointNote,
  storeLeaves,
} from '../../store/queries/audit-log.ts';
import type { Store } from '../../store/store.ts';
import type { LogKeys, LogSigner } from './log-key.ts';

/** What the sequencer needs. */
export interface SequencerDeps {
  readonly store: Store;
  readonly keys: LogKeys;
  readonly nowMs: () => number;
}

/** What one run did. */
export interface SequencerRun {
  readonly leaves: number;
  readonly signed: number;
}

const scope = { role: 'system', orgId: null } as const;
/** Logs looked at in one run, and segments of one log in one transaction. */
const maxLogs = 500;
const maxSegments = 2000;
/** Transactions for one log in one run, so that the others have their turn. */
const maxRounds = 20;

/**
 * Runs once. Call it every second or so on every replica; a run that comes too early does nothing.
 *
 * A log that fails, for example because its key cannot be opened, holds up no other; its failure is thrown at the end.
 */
export async function sequenceLogs(deps: SequencerDeps): Promise<SequencerRun> {
  const { store } = deps;
  const failures: unknown[] = [];
  const forEach = async (orgIds: readonly string[], work: (orgId: string) => Promise<number>) => {
    let sum = 0;
    for (const orgId of orgIds) {
      sum += await work(orgId).catch((error: unknown) => {
        failures.push(error);
        return 0;
      });
    }
    return sum;
  };
  const waiting = await store.transaction(scope, (tx) => listWaitingLogs(tx, maxLogs));
  const leaves = await forEach(waiting, (orgId) => sequenceLog(deps, orgId));
  const unsigned = await store.transaction(scope, (tx) => listUnsignedLogs(tx, maxLogs));
  const signed = await forEach(unsigned, (orgId) => signNewest(deps, orgId));
  if (failures.length > 0) throw failures[0];
  return { leaves, signed };
}

/** What waits when it begins, a transaction per {@link maxSegments}. */
async function sequenceLog(deps: SequencerDeps, orgId: string): Promise<number> {
  let leaves = 0;
  for (let round = 0; round < maxRounds; round += 1) {
    const done = await sequenceSome(deps, orgId);
    leaves += done;
    if (done < maxSegments) break;
  }
  return leaves;
}

async function sequenceSome({ store, nowMs }: SequencerDeps, orgId: string): Promise<number> {
  return store.transaction(scope, async (tx) => {
    await lockLog(tx, orgId);
    const before = await readLog(tx, orgId);
    const segments = await readWaitingSegments(tx, orgId, maxSegments);
    if (segments.length === 0) return 0;
    const hashes = segments.map(({ streamId, ...rest }) =>
      hashSegment({ ...rest, stream: streamId as Id<'str'> }),
    );
    const { tree, nodes } = appendLeaves(before, hashes);
    const now = new Date(nowMs());
    await storeLeaves(tx, orgId, { segments, from: before.size, nodes, tree, root: rootOf(tree), now });
    return segments.length;
  });
}

async function signNewest({ store, keys }: SequencerDeps, orgId: string): Promise<number> {
  const signer = await keys.signerOf(orgId);
  const newest = await store.transaction(scope, (tx) => findNewestCheckpoint(tx, orgId, 'any'));
  if (newest === null || newest.note !== null) return 0;
  const note = signCheckpoint(signer, newest);
  await store.transaction(scope, (tx) => setCheckpointNote(tx, orgId, newest.size, note));
  return 1;
}

/** The signed note that says a root. */
export function signCheckpoint(
  { verifier, sign }: LogSigner,
  { size, root }: { readonly size: number; readonly root: Uint8Array },
): string {
  const text = formatCheckpoint({ origin: verifier.name, size, root });
  return formatNote(text, verifier, sign(text));
}
