/** The Merkle log of each organisation: segments on their way in, nodes, roots, signed checkpoints. */
import type { Frontier, NodePlace, TreeNode } from '@kontext/audit';
import { and, desc, eq, gte, isNotNull, isNull, lte, sql } from 'drizzle-orm';
import { auditCheckpoints, auditLogs, auditSegments } from '../schema.ts';
import type { Tx } from '../tx.ts';
import { bigintColumn, textColumn } from './row-columns.ts';

/** A segment as stored. */
export type SegmentRow = typeof auditSegments.$inferSelect;

/** A root with its signature, once there is one. */
export type CheckpointRow = typeof auditCheckpoints.$inferSelect;

const hashBytes = 32;

/** Organisations with segments that are not in their log yet. Role `system`. */
export async function listWaitingLogs(tx: Tx, limit: number): Promise<string[]> {
  const rows = await tx
    .selectDistinct({ orgId: auditSegments.orgId })
    .from(auditSegments)
    .where(isNull(auditSegments.leafIndex))
    .limit(limit);
  return rows.map(({ orgId }) => orgId);
}

/** Keeps every other sequencer of this log back until the transaction ends; poolers cannot break a lock of the transaction. */
export async function lockLog(tx: Tx, orgId: string): Promise<void> {
  await tx.execute(sql`SELECT pg_advisory_xact_lock(hashtextextended(${`kontext.audit-log ${orgId}`}, 0))`);
}

/** The log as it stands; empty before its first leaf. */
export async function readLog(tx: Tx, orgId: string): Promise<Frontier> {
  const [row] = await tx.select().from(auditLogs).where(eq(auditLogs.orgId, orgId)).limit(1);
  if (row === undefined) return { size: 0, hashes: [] };
  const count = row.hashes.length / hashBytes;
  const hashes = Array.from({ length: count }, (_, at) =>
    row.hashes.subarray(at * hashBytes, (at + 1) * hashBytes),
  );
  return { size: row.size, hashes };
}

/**
 * Segments that wait, each stream's in order of seq. A later one of a stream is never visible before an earlier one: moving the
 * head of a stream makes its appends follow each other.
 */
export async function readWaitingSegments(tx: Tx, orgId: string, limit: number): Promise<SegmentRow[]> {
  return tx
    .select()
    .from(auditSegments)
    .where(and(eq(auditSegments.orgId, orgId), isNull(auditSegments.leafIndex)))
    .orderBy(auditSegments.streamId, auditSegments.firstSeq)
    .limit(limit);
}

/** What {@link storeLeaves} stores. */
export interface NewLeaves {
  /** The first one gets the leaf index `from`. */
  readonly segments: readonly Pick<SegmentRow, 'streamId' | 'firstSeq'>[];
  readonly from: number;
  readonly nodes: readonly TreeNode[];
  readonly tree: Frontier;
  readonly root: Uint8Array;
  readonly now: Date;
}

/** Puts segments into the log, with nodes, frontier and root. A size that has a root already is refused by its key. */
export async function storeLeaves(tx: Tx, orgId: string, leaves: NewLeaves): Promise<void> {
  const { segments, from, nodes, tree, root, now } = leaves;
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
  await tx.execute(sql`
    UPDATE audit_segments s SET leaf_index = ${from}::bigint + w.at - 1
    FROM unnest(${textColumn(segments.map(({ streamId }) => streamId))},
      ${bigintColumn(segments.map(({ firstSeq }) => firstSeq))}) WITH ORDINALITY AS w(stream_id, first_seq, at)
    WHERE s.stream_id = w.stream_id AND s.first_seq = w.first_seq`);
  await tx.execute(sql`
    INSERT INTO audit_log_nodes (org_id, level, position, hash)
    SELECT ${orgId}, n.level, n.position, decode(n.hash, 'hex')
    FROM unnest(${bigintColumn(nodes.map(({ level }) => level))}, ${bigintColumn(nodes.map(({ index }) => index))},
      ${textColumn(nodes.map(({ hash }) => hex(hash)))}) AS n(level, position, hash)`);
  const log = { size: tree.size, hashes: Buffer.concat(tree.hashes), updatedAt: now };
  await tx
    .insert(auditLogs)
    .values({ orgId, ...log })
    .onConflictDoUpdate({ target: auditLogs.orgId, set: log });
  await tx
    .insert(auditCheckpoints)
    .values({ orgId, size: tree.size, root: Buffer.from(root), note: null, createdAt: now });
}

/** The newest root of an organisation; null before there is one. */
export async function findNewestCheckpoint(
  tx: Tx,
  orgId: string,
  which: 'signed' | 'any',
): Promise<CheckpointRow | null> {
  const [row] = await tx
    .select()
    .from(auditCheckpoints)
    .where(
      and(
        eq(auditCheckpoints.orgId, orgId),
        which === 'signed' ? isNotNull(auditCheckpoints.note) : undefined,
      ),
    )
    .orderBy(desc(auditCheckpoints.size))
    .limit(1);
  return row ?? null;
}

/** Organisations whose newest root is not signed yet. Role `system`. */
export async function listUnsignedLogs(tx: Tx, limit: number): Promise<string[]> {
  const { rows } = await tx.execute<{ org_id: string }>(sql`
    SELECT l.org_id FROM audit_logs l JOIN audit_checkpoints c ON c.org_id = l.org_id AND c.size = l.size
    WHERE c.note IS NULL LIMIT ${limit}`);
  return rows.map(({ org_id: orgId }) => orgId);
}

/** Signs a root; the first signature stays. */
export async function setCheckpointNote(tx: Tx, orgId: string, size: number, note: string): Promise<void> {
  await tx
    .update(auditCheckpoints)
    .set({ note })
    .where(
      and(eq(auditCheckpoints.orgId, orgId), eq(auditCheckpoints.size, size), isNull(auditCheckpoints.note)),
    );
}

/** Hashes of complete nodes in the order asked for. @throws TypeError when one is missing: it is asked for beyond the log. */
export async function readNodes(
  tx: Tx,
  orgId: string,
  places: readonly NodePlace[],
): Promise<readonly Uint8Array[]> {
  if (places.length === 0) return [];
  const { rows } = await tx.execute<{ hash: string }>(sql`
    SELECT encode(n.hash, 'hex') AS hash
    FROM unnest(${bigintColumn(places.map(({ level }) => level))}, ${bigintColumn(places.map(({ index }) => index))})
      WITH ORDINALITY AS w(level, position, at)
    JOIN audit_log_nodes n ON n.org_id = ${orgId} AND n.level = w.level AND n.position = w.position
    ORDER BY w.at`);
  if (rows.length !== places.length) throw new TypeError('a node of the audit log is missing');
  return rows.map(({ hash }) => Buffer.from(hash, 'hex'));
}

/** The segment that holds one event of a stream; null when there is none. */
export async function findSegment(tx: Tx, streamId: string, seq: number): Promise<SegmentRow | null> {
  const [row] = await tx
    .select()
    .from(auditSegments)
    .where(
      and(
        eq(auditSegments.streamId, streamId),
        lte(auditSegments.firstSeq, seq),
        gte(auditSegments.lastSeq, seq),
      ),
    )
    .orderBy(desc(auditSegments.firstSeq))
    .limit(1);
  return row ?? null;
}
