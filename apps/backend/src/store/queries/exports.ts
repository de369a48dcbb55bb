/** Exports: their state, who works on one, and their bytes. */
import { and, asc, count, desc, eq, inArray, isNull, lt, lte, ne, or, sql } from 'drizzle-orm';
import { auditExportChunks, auditExports, auditSegments } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** An export as stored. */
export type ExportRow = typeof auditExports.$inferSelect;

/** What an export begins with. */
export type NewExport = Pick<
  ExportRow,
  'id' | 'orgId' | 'userId' | 'format' | 'query' | 'withoutPayloads' | 'createdAt' | 'expiresAt'
>;

/** Stores a new export, running. Role `app`. */
export async function insertExport(tx: Tx, row: NewExport): Promise<ExportRow> {
  const [stored] = await tx
    .insert(auditExports)
    .values({ ...row, state: 'running' })
    .returning();
  if (stored === undefined) throw new TypeError('an insert returned nothing');
  return stored;
}

/**
 * Exports of an organisation that take up room: running, or not expired yet.
 *
 * @param butId Leaves one out; null: none.
 * @returns How many, and how large they are together as far as they are made.
 */
export async function sumKeptExports(
  tx: Tx,
  orgId: string,
  butId: string | null,
): Promise<{ readonly count: number; readonly bytes: number }> {
  const [row] = await tx
    .select({ count: count(), bytes: sql<string>`coalesce(sum(${auditExports.bytes}), 0)` })
    .from(auditExports)
    .where(
      and(
        ...[eq(auditExports.orgId, orgId), inArray(auditExports.state, ['running', 'ready'])],
        butId === null ? undefined : ne(auditExports.id, butId),
      ),
    );
  return { count: row?.count ?? 0, bytes: Number(row?.bytes ?? 0) };
}

/** An export by id; null when the organisation has none of it. */
export async function findExport(tx: Tx, orgId: string, id: string): Promise<ExportRow | null> {
  const [row] = await tx
    .select()
    .from(auditExports)
    .where(and(eq(auditExports.orgId, orgId), eq(auditExports.id, id)))
    .limit(1);
  return row ?? null;
}

/** Exports of an organisation, newest first, before an id. */
export async function listExports(
  tx: Tx,
  orgId: string,
  page: { readonly before: string | null; readonly limit: number },
): Promise<ExportRow[]> {
  return tx
    .select()
    .from(auditExports)
    .where(
      and(eq(auditExports.orgId, orgId), page.before === null ? undefined : lt(auditExports.id, page.before)),
    )
    .orderBy(desc(auditExports.id))
    .limit(page.limit);
}

/**
 * Takes a running export that nobody works on: a new one, or the one that was worked on longest ago. Role `system`.
 *
 * @param until The claim; it also tells this worker from one that comes later. Nobody else gets the export before it is over.
 * @param notIds Exports that were just looked at.
 */
export async function claimExport(
  tx: Tx,
  now: Date,
  until: Date,
  notIds: readonly string[],
): Promise<ExportRow | null> {
  const free = or(isNull(auditExports.claimedUntil), lt(auditExports.claimedUntil, now));
  const others = notIds.length === 0 ? undefined : sql`NOT ${inArray(auditExports.id, [...notIds])}`;
  const [found] = await tx
    .select({ id: auditExports.id })
    .from(auditExports)
    .where(and(eq(auditExports.state, 'running'), free, others))
    .orderBy(sql`${auditExports.claimedUntil} ASC NULLS FIRST`, asc(auditExports.id))
    .limit(1)
    .for('update', { skipLocked: true });
  if (found === undefined) return null;
  const [row] = await tx
    .update(auditExports)
    .set({ claimedUntil: until })
    .where(eq(auditExports.id, found.id))
    .returning();
  return row ?? null;
}

/** What of an export a worker may change. */
export type ExportChange = Partial<
  Pick<
    ExportRow,
    'state' | 'cursor' | 'claimedUntil' | 'events' | 'bytes' | 'sha256' | 'error' | 'finishedAt'
  >
>;

/** Changes an export that is still claimed by the caller. Role `system`. @returns False when it is not. */
export async function changeExport(
  tx: Tx,
  { id, claimedUntil }: Pick<ExportRow, 'id' | 'claimedUntil'>,
  change: ExportChange,
): Promise<boolean> {
  const own =
    claimedUntil === null ? isNull(auditExports.claimedUntil) : eq(auditExports.claimedUntil, claimedUntil);
  const rows = await tx
    .update(auditExports)
    .set(change)
    .where(and(eq(auditExports.id, id), eq(auditExports.state, 'running'), own))
    .returning({ id: auditExports.id });
  return rows.length === 1;
}

/** A piece of an export. */
export type ExportChunk = Pick<typeof auditExportChunks.$inferSelect, 'chunk' | 'offset' | 'data'>;

/** Stores the next pieces. Role `system`. */
export async function insertChunks(
  tx: Tx,
  { id, orgId }: Pick<ExportRow, 'id' | 'orgId'>,
  chunks: readonly ExportChunk[],
): Promise<void> {
  // One at a time: a statement with all of them would hold each twice in memory.
  for (const chunk of chunks) await tx.insert(auditExportChunks).values({ exportId: id, orgId, ...chunk });
}

/** Number of the piece that holds an offset; null beyond the end. */
export async function findChunk(tx: Tx, exportId: string, offset: number): Promise<number | null> {
  const [row] = await tx
    .select({ chunk: auditExportChunks.chunk })
    .from(auditExportChunks)
    .where(and(eq(auditExportChunks.exportId, exportId), lte(auditExportChunks.offset, offset)))
    .orderBy(desc(auditExportChunks.chunk))
    .limit(1);
  return row?.chunk ?? null;
}

/** A piece by its number. */
export async function readChunk(tx: Tx, exportId: string, chunk: number): Promise<ExportChunk | null> {
  const [row] = await tx
    .select({
      chunk: auditExportChunks.chunk,
      offset: auditExportChunks.offset,
      data: auditExportChunks.data,
    })
    .from(auditExportChunks)
    .where(and(eq(auditExportChunks.exportId, exportId), eq(auditExportChunks.chunk, chunk)))
    .limit(1);
  return row ?? null;
}

/** Whether segments that were accepted up to an instant are not in their log yet. */
export async function hasWaitingSegments(tx: Tx, orgId: string, until: Date): Promise<boolean> {
  const rows = await tx
    .select({ one: sql`1` })
    .from(auditSegments)
    .where(
      and(
        eq(auditSegments.orgId, orgId),
        isNull(auditSegments.leafIndex),
        lte(auditSegments.acceptedAt, until),
      ),
    )
    .limit(1);
  return rows.length > 0;
}

/** Pieces deleted at once: 100 MiB. A large export at once could take longer than a statement may, and then for ever. */
const maxDropped = 400;

/**
 * Ends what has expired, and deletes pieces of what ended, some at a time. Role `retention`.
 *
 * @param limit Most pieces. @returns Pieces that were deleted.
 */
export async function dropExpiredExports(tx: Tx, now: Date, limit: number = maxDropped): Promise<number> {
  await tx
    .update(auditExports)
    .set({ state: 'expired', cursor: '' })
    .where(and(inArray(auditExports.state, ['running', 'ready']), lt(auditExports.expiresAt, now)));
  const { rows } = await tx.execute(sql`
    DELETE FROM audit_export_chunks WHERE (export_id, chunk) IN (
      SELECT c.export_id, c.chunk FROM audit_exports e JOIN audit_export_chunks c ON c.export_id = e.id
      WHERE e.state IN ('failed', 'expired') LIMIT ${limit})
    RETURNING 1`);
  return rows.length;
}
