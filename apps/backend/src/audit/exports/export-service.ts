import { createId, isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { Caller } from '../../caller.ts';
import { lockServerStream } from '../../store/queries/audit-streams.ts';
import {
  type ExportRow,
  findChunk,
  findExport,
  insertExport,
  listExports,
  readChunk,
  sumKeptExports,
} from '../../store/queries/exports.ts';
import type { Store } from '../../store/store.ts';
import type { AppendSignal } from '../append-signal.ts';
import type { AuditLog } from '../log/audit-log.ts';
import { parseQuery } from '../search/parse-query.ts';
import { defaultExportLimits, type ExportLimits, keptMs } from './export-limits.ts';
import { createExportJob } from './make-exports.ts';

export type { ExportRow };

/** What to export. */
export type ExportOrder = Pick<ExportRow, 'format' | 'query' | 'withoutPayloads'>;

/** Exports as their edge uses them; roles are checked there. */
export interface ExportService {
  /**
   * @throws KontextError `KX_QUERY_INVALID` when the query cannot be read, `KX_RATE_LIMITED` when the organisation keeps as many
   *   exports, or as many bytes of them, as it may.
   */
  begin(caller: Caller, order: ExportOrder): Promise<ExportRow>;
  /** @throws KontextError `KX_NOT_FOUND`. */
  get(caller: Caller, id: string): Promise<ExportRow>;
  /** @throws KontextError `KX_REQUEST_INVALID` when page size or cursor cannot be used. */
  list(
    caller: Caller,
    page: { readonly pageSize: number; readonly cursor: string },
  ): Promise<{ readonly exports: readonly ExportRow[]; readonly next: string | null }>;
  /**
   * The bytes from an offset on, in pieces of at most 256 KiB.
   *
   * @throws KontextError `KX_NOT_FOUND`; `KX_TEMPORARY` while it is made; `KX_EXPORT_FAILED` when it failed or has expired.
   */
  read(caller: Caller, id: string, offset: number): AsyncGenerator<Uint8Array>;
  /** Background work; call it often. */
  run(): Promise<void>;
}

/** What the service needs. */
export interface ExportDeps {
  readonly store: Store;
  readonly log: Pick<AuditLog, 'checkpoint'>;
  readonly appended: AppendSignal;
  readonly nowMs: () => number;
  readonly limits?: Partial<ExportLimits>;
}

/** Puts it together. */
export function createExportService(deps: ExportDeps): ExportService {
  const { store, nowMs } = deps;
  const limits = { ...defaultExportLimits, ...deps.limits };
  const job = createExportJob({ ...deps, limits });
  const get = async ({ orgId }: Caller, id: string): Promise<ExportRow> => {
    const row = isId('exp', id)
      ? await store.transaction({ role: 'read', orgId }, (tx) => findExport(tx, orgId, id))
      : null;
    if (row === null) throw new KontextError('KX_NOT_FOUND', 'there is no such export');
    return row;
  };
  return {
    get,
    begin: (caller, order) => begin(store, caller, order, limits, nowMs()),
    list: (caller, page) => list(store, caller, page),
    async *read(caller, id, offset) {
      yield* readBytes(store, checkReadable(await get(caller, id)), offset);
    },
    run: () => job.run(),
  };
}

async function begin(
  store: Store,
  { orgId, userId }: Caller,
  { format, query, withoutPayloads }: ExportOrder,
  { maxKept, maxKeptBytes }: ExportLimits,
  nowMs: number,
): Promise<ExportRow> {
  parseQuery(query);
  return store.transaction({ role: 'app', orgId }, async (tx) => {
    // Orders that come at once are counted one after the other.
    await lockServerStream(tx, orgId, null);
    const kept = await sumKeptExports(tx, orgId, null);
    if (kept.count >= maxKept) throw tooMany(`${maxKept}`);
    if (kept.bytes >= maxKeptBytes) throw tooMany(`${Math.floor(maxKeptBytes / 1024 ** 2)} MiB`);
    const [createdAt, expiresAt] = [new Date(nowMs), new Date(nowMs + keptMs)];
    const id = createId('exp', nowMs);
    return insertExport(tx, { id, orgId, userId, format, query, withoutPayloads, createdAt, expiresAt });
  });
}

/** @param most How many, or how large they are. */
const tooMany = (most: string): KontextError =>
  new KontextError('KX_RATE_LIMITED', `the organisation keeps as many exports as it may, ${most} at a time`, {
    why: 'each export is kept for 24 hours',
    hint: 'wait until one of them expires (`kontext audit exports ls`)',
  });

async function list(
  store: Store,
  { orgId }: Caller,
  { pageSize, cursor }: { readonly pageSize: number; readonly cursor: string },
) {
  const limit = pageSize === 0 ? 50 : pageSize;
  if (limit < 1 || limit > 200) throw new KontextError('KX_REQUEST_INVALID', 'page_size must be 1 to 200');
  if (cursor !== '' && !isId('exp', cursor))
    throw new KontextError('KX_REQUEST_INVALID', 'page_token is not one of ours');
  const before = cursor === '' ? null : cursor;
  const exports = await store.transaction({ role: 'read', orgId }, (tx) =>
    listExports(tx, orgId, { before, limit }),
  );
  return { exports, next: exports.length < limit ? null : (exports.at(-1)?.id ?? null) };
}

function checkReadable(row: ExportRow): ExportRow {
  if (row.state === 'ready') return row;
  if (row.state === 'running') throw new KontextError('KX_TEMPORARY', 'the export is not ready yet');
  throw row.state === 'failed'
    ? new KontextError('KX_EXPORT_FAILED', 'the export failed', { why: row.error })
    : new KontextError('KX_EXPORT_FAILED', 'the export has expired', {
        ...{ why: 'exports are kept for 24 hours', hint: 'make another one' },
      });
}

/** The place is looked up once; then the pieces are read by their numbers. */
async function* readBytes(
  store: Store,
  { id, orgId, bytes }: ExportRow,
  offset: number,
): AsyncGenerator<Uint8Array> {
  const scope = { role: 'read', orgId } as const;
  if (offset >= bytes) return;
  const first = await store.transaction(scope, (tx) => findChunk(tx, id, offset));
  let at = offset;
  for (let chunk = first ?? 0; at < bytes; chunk += 1) {
    const piece = await store.transaction(scope, (tx) => readChunk(tx, id, chunk));
    if (piece === null)
      throw new KontextError('KX_EXPORT_FAILED', 'the export has expired', { why: 'while it was read' });
    yield piece.data.subarray(at - piece.offset);
    at = piece.offset + piece.data.length;
  }
}
