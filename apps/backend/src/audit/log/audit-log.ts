import { formatVerifierKey, proveConsistency, proveInclusion, type ReadNodes } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { Caller } from '../../caller.ts';
import {
  findNewestCheckpoint,
  findSegment,
  readNodes,
  type SegmentRow,
} from '../../store/queries/audit-log.ts';
import type { Store } from '../../store/store.ts';
import type { Tx } from '../../store/tx.ts';
import type { LogKeys } from './log-key.ts';
import { type EventQuery, type ProvenPlace, proveEvent } from './prove-event.ts';
import { signCheckpoint } from './sequence-log.ts';

/** The newest signed checkpoint of a log, and whose signature it bears. */
export interface SignedCheckpoint {
  readonly size: number;
  /** Signed note. */
  readonly note: string;
  /** Verifier key to pin, `name+id+key`. */
  readonly verifierKey: string;
}

/** Where an event stands in the log. */
export interface EventProof {
  readonly segment: SegmentRow;
  readonly leafIndex: number;
  readonly size: number;
  readonly proof: readonly Uint8Array[];
}

/** An organisation's log as its edges use it. */
export interface AuditLog {
  /** Null before the first checkpoint. */
  checkpoint(orgId: string): Promise<SignedCheckpoint | null>;
  /**
   * Note of a checkpoint of late, for answers that must not wait for one: at most as old as the last call and a second.
   * Empty when none is known yet.
   */
  recentNote(orgId: string): string;
  /** Verifier key to pin; empty before the log has a key. */
  verifierKey(orgId: string): Promise<string>;
  /** @throws KontextError `KX_REQUEST_INVALID` when the sizes are not those of a log that was here. */
  consistency(orgId: string, oldSize: number, size: number): Promise<readonly Uint8Array[]>;
  /**
   * @param size Of the checkpoint to prove it against.
   * @throws KontextError `KX_NOT_FOUND` when there is no such event, `KX_TEMPORARY` when the log of that size does not hold it
   *   yet, `KX_REQUEST_INVALID` when the log never had that size.
   */
  inclusion(orgId: string, streamId: string, seq: number, size: number): Promise<EventProof>;
  /** As {@link AuditLog.inclusion}, for what a caller may see; see `proveEvent`. */
  prove(caller: Caller, query: EventQuery): Promise<EventProof & ProvenPlace>;
}

/** What the log needs. */
export interface AuditLogDeps {
  readonly store: Store;
  readonly keys: LogKeys;
  /** Default `Date.now`. */
  readonly nowMs?: () => number;
}

/** Puts the log together. */
export function createAuditLog({ store, keys, nowMs = Date.now }: AuditLogDeps): AuditLog {
  const read = <T>(orgId: string, work: (tx: Tx) => Promise<T>): Promise<T> =>
    store.transaction({ role: 'read', orgId }, work);
  const checkpoint = async (orgId: string): Promise<SignedCheckpoint | null> => {
    const newest = await read(orgId, (tx) => findNewestCheckpoint(tx, orgId, 'signed'));
    const verifier = await keys.verifierOf(orgId);
    if (newest?.note == null || verifier === null) return null;
    const { size } = newest;
    // Signed under another name, that of a public URL this backend had before: the same root goes out under the name of now.
    const isOurs = newest.note.startsWith(`${verifier.name}\n`);
    const note = isOurs ? newest.note : signCheckpoint(await keys.signerOf(orgId), newest);
    return { size, note, verifierKey: formatVerifierKey(verifier) };
  };
  const log: AuditLog = {
    checkpoint,
    recentNote: createRecentNotes(checkpoint, nowMs),
    verifierKey: async (orgId) => {
      const verifier = await keys.verifierOf(orgId);
      return verifier === null ? '' : formatVerifierKey(verifier);
    },
    consistency: (orgId, oldSize, size) =>
      read(orgId, async (tx) => {
        const newest = await findNewestCheckpoint(tx, orgId, 'any');
        if (oldSize < 0 || oldSize > size || size > (newest?.size ?? 0)) throw noSuchSize();
        return proveConsistency(oldSize, size, nodesOf(tx, orgId));
      }),
    inclusion: (orgId, streamId, seq, size) =>
      read(orgId, async (tx) => {
        const segment = await findSegment(tx, streamId, seq);
        if (segment === null) throw noSuchEvent();
        const newest = await findNewestCheckpoint(tx, orgId, 'any');
        if (size > (newest?.size ?? 0)) throw noSuchSize();
        const { leafIndex } = segment;
        if (leafIndex === null || leafIndex >= size) throw notInLogYet();
        const proof = await proveInclusion(leafIndex, size, nodesOf(tx, orgId));
        return { segment, leafIndex, size, proof };
      }),
    prove: (caller, query) => proveEvent(store, log.inclusion, caller, query),
  };
  return log;
}

const noteAgeMs = 1_000;
const maxNotes = 10_000;

/** Keeps the newest note of each organisation that is asked for, and renews it behind the asker's back. */
function createRecentNotes(
  checkpoint: (orgId: string) => Promise<SignedCheckpoint | null>,
  nowMs: () => number,
): (orgId: string) => string {
  const notes = new Map<string, { note: string; askedAtMs: number }>();
  const renew = async (orgId: string, entry: { note: string }): Promise<void> => {
    try {
      entry.note = (await checkpoint(orgId))?.note ?? entry.note;
    } catch {
      // The next one asks again; whoever needs a checkpoint asks for it itself.
    }
  };
  return (orgId) => {
    const known = notes.get(orgId);
    const entry = known ?? { note: '', askedAtMs: Number.NEGATIVE_INFINITY };
    if (known === undefined) {
      if (notes.size >= maxNotes) notes.clear();
      notes.set(orgId, entry);
    }
    if (Math.abs(nowMs() - entry.askedAtMs) >= noteAgeMs) {
      entry.askedAtMs = nowMs();
      void renew(orgId, entry);
    }
    return entry.note;
  };
}

const nodesOf =
  (tx: Tx, orgId: string): ReadNodes =>
  async (places) => {
    try {
      return await readNodes(tx, orgId, places);
    } catch (cause) {
      // Sizes are checked before, so every node is one that must be there.
      if (!(cause instanceof TypeError)) throw cause;
      throw new KontextError('KX_AUDIT_ALTERED', 'the audit log cannot prove what it holds', {
        ...{ why: 'a node of it is missing from the database', cause },
      });
    }
  };

const noSuchSize = (): KontextError =>
  new KontextError('KX_REQUEST_INVALID', 'the audit log never had that size');

const noSuchEvent = (): KontextError =>
  new KontextError('KX_NOT_FOUND', 'there is no such audit event, or it is not yours');

const notInLogYet = (): KontextError =>
  new KontextError('KX_TEMPORARY', 'the audit log of that size does not hold the event yet', {
    hint: 'a checkpoint holds what was acknowledged some seconds before it',
  });
