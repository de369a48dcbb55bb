import { formatVerifierKey, proveConsistency, proveInclusion, type ReadNodes } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import {
  findNewestCheckpoint,
  findSegment,
  readNodes,
  type SegmentRow,
} from '../../store/queries/audit-log.ts';
import type { Store } from '../../store/store.ts';
import type { Tx } from '../../store/tx.ts';
import type { LogKeys } from './log-key.ts';

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
  /** @throws KontextError `KX_REQUEST_INVALID` when the sizes are not those of a log that was here. */
  consistency(orgId: string, oldSize: number, size: number): Promise<readonly Uint8Array[]>;
  /**
   * @param size Of the checkpoint to prove it against.
   * @throws KontextError `KX_NOT_FOUND` when the log of that size does not hold the event (yet).
   */
  inclusion(orgId: string, streamId: string, seq: number, size: number): Promise<EventProof>;
}

/** Puts the log together. */
export function createAuditLog({ store, keys }: { readonly store: Store; readonly keys: LogKeys }): AuditLog {
  const read = <T>(orgId: string, work: (tx: Tx) => Promise<T>): Promise<T> =>
    store.transaction({ role: 'read', orgId }, work);
  return {
    checkpoint: async (orgId) => {
      const newest = await read(orgId, (tx) => findNewestCheckpoint(tx, orgId, 'signed'));
      const verifier = await keys.verifierOf(orgId);
      if (newest?.note == null || verifier === null) return null;
      return { size: newest.size, note: newest.note, verifierKey: formatVerifierKey(verifier) };
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
        if (segment === null || segment.leafIndex === null || segment.leafIndex >= size) throw notInLog();
        const newest = await findNewestCheckpoint(tx, orgId, 'any');
        if (size > (newest?.size ?? 0)) throw noSuchSize();
        const { leafIndex } = segment;
        const proof = await proveInclusion(leafIndex, size, nodesOf(tx, orgId));
        return { segment, leafIndex, size, proof };
      }),
  };
}

const nodesOf =
  (tx: Tx, orgId: string): ReadNodes =>
  (places) =>
    readNodes(tx, orgId, places);

const noSuchSize = (): KontextError =>
  new KontextError('KX_REQUEST_INVALID', 'the audit log never had that size');

const notInLog = (): KontextError =>
  new KontextError('KX_NOT_FOUND', 'the audit log of that size does not hold the event', {
    hint: 'a checkpoint holds what was acknowledged some seconds before it',
  });
