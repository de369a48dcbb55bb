/**
 * Makes exports in the background, a step at a time.
 *
 * - A replica claims an export for a minute and renews the claim with each step; a step's bytes, its place and the claim are one
 *   transaction, so one that was killed, or was slow, leaves nothing half done, and whoever comes next goes on after the last step.
 * - The newest checkpoint is taken first, one that holds all that was stored before the export was asked for; what it covers is
 *   exported, so the file is of one instant, however long it takes.
 */
import { createHash, type Hash } from 'node:crypto';
import { KontextError } from '@kontext/errors';
import { readLog } from '../../store/queries/audit-log.ts';
import { prepareFilter } from '../../store/queries/event-filter.ts';
import { findMatchingStreams } from '../../store/queries/export-source.ts';
import {
  changeExport,
  claimExport,
  dropExpiredExports,
  type ExportChange,
  type ExportRow,
  hasWaitingSegments,
  insertChunks,
  readChunk,
  sumKeptExports,
} from '../../store/queries/exports.ts';
import type { Store } from '../../store/store.ts';
import { appendServerEvent } from '../append-server-event.ts';
import type { AppendSignal } from '../append-signal.ts';
import type { AuditLog } from '../log/audit-log.ts';
import { parseQuery } from '../search/parse-query.ts';
import { type ExportCursor, parseCursor } from './export-cursor.ts';
import type { ExportLimits } from './export-limits.ts';
import { createExportWriter } from './export-writer.ts';
import { type WrittenStep, writeStep } from './write-step.ts';

/** What the job needs. */
export interface MakeExportsDeps {
  readonly store: Store;
  readonly log: Pick<AuditLog, 'checkpoint'>;
  readonly appended: AppendSignal;
  readonly nowMs: () => number;
  readonly limits: ExportLimits;
}

const system = { role: 'system', orgId: null } as const;
const leaseMs = 60_000;
/** A run works so long and lets others have their turn; it is called again soon. */
const budgetMs = 3_000;

type Writer = ReturnType<typeof createExportWriter>;

/** Creates the job; call `run` every half second on every replica. */
export function createExportJob(deps: MakeExportsDeps): { run(): Promise<void> } {
  // Hashes of what this process wrote, so that not every run has to read it again.
  const hashes = new Map<string, { readonly hash: Hash; readonly bytes: number }>();
  return {
    async run() {
      const { store, nowMs } = deps;
      const untilMs = nowMs() + budgetMs;
      await store.transaction({ role: 'retention', orgId: null }, (tx) =>
        dropExpiredExports(tx, new Date(nowMs())),
      );
      const seen: string[] = [];
      while (nowMs() < untilMs) {
        const row = await claim(deps, seen);
        if (row === null) return;
        seen.push(row.id);
        await work(deps, row, hashes, untilMs);
      }
    },
  };
}

const claim = ({ store, nowMs }: MakeExportsDeps, notIds: readonly string[]): Promise<ExportRow | null> =>
  store.transaction(system, (tx) => claimExport(tx, new Date(nowMs()), new Date(nowMs() + leaseMs), notIds));

/** A claim that is over: who was worked on longest ago comes next, so that a long export takes turns with others. */
const released = (nowMs: () => number): Date => new Date(nowMs() - 1);

type Hashes = Map<string, { readonly hash: Hash; readonly bytes: number }>;

/** Works on a claimed export until the time is over or it ends. What is the export's own fault ends it; other errors are thrown. */
async function work(
  deps: MakeExportsDeps,
  claimed: ExportRow,
  hashes: Hashes,
  untilMs: number,
): Promise<void> {
  const { store, nowMs } = deps;
  let row = claimed;
  try {
    const cursor = await prepare(deps, row);
    if (cursor.log === null) {
      await change(store, row, { cursor: JSON.stringify(cursor), claimedUntil: released(nowMs) });
      return;
    }
    const writer = await openWriter(store, row, cursor, hashes);
    hashes.delete(row.id);
    row = { ...row, cursor: JSON.stringify(cursor) };
    while (row.state === 'running') {
      const isOver = nowMs() >= untilMs;
      row = await takeStep(deps, row, writer, isOver);
      if (isOver) break;
    }
    if (row.state === 'running') hashes.set(row.id, writer.state);
  } catch (error) {
    if (!isOwnFault(error)) throw error;
    const finishedAt = new Date(nowMs());
    await change(store, row, { state: 'failed', error: error.message, finishedAt, claimedUntil: null });
  }
}

const isOwnFault = (error: unknown): error is KontextError =>
  error instanceof KontextError && ['KX_EXPORT_FAILED', 'KX_QUERY_INVALID'].includes(error.code);

const failed = (message: string): KontextError => new KontextError('KX_EXPORT_FAILED', message);

const change = (store: Store, row: ExportRow, what: ExportChange): Promise<boolean> =>
  store.transaction(system, (tx) => changeExport(tx, row, what));

/** Fixes what the export is about; `log` stays null while the checkpoint is waited for. */
async function prepare(deps: MakeExportsDeps, row: ExportRow): Promise<ExportCursor> {
  const { store, log, nowMs, limits } = deps;
  const cursor = parseCursor(row.cursor);
  if (cursor.log !== null) return cursor;
  const scope = { role: 'read', orgId: row.orgId } as const;
  const isLate = nowMs() - row.createdAt.getTime() >= limits.checkpointWaitMs;
  const wantedSize =
    cursor.wantedSize ??
    (await store.transaction(scope, async (tx) =>
      (await hasWaitingSegments(tx, row.orgId, row.createdAt)) ? null : (await readLog(tx, row.orgId)).size,
    ));
  const newest = await log.checkpoint(row.orgId);
  if (newest === null || wantedSize === null || newest.size < wantedSize) {
    if (!isLate) return { ...cursor, wantedSize };
    if (newest === null) throw failed('the log of the organisation has no signed checkpoint yet');
    // Made now, it would lack events without saying so.
    throw failed('the signed log lags behind what was stored before: try again later');
  }
  const { size, note, verifierKey: key } = newest;
  return { ...cursor, wantedSize, log: { size, note, key }, streamIds: await chooseStreams(deps, row) };
}

/** Streams of a bundle: null for all. */
async function chooseStreams(
  { store, limits }: MakeExportsDeps,
  row: ExportRow,
): Promise<readonly string[] | null> {
  const { orgId, format, createdAt } = row;
  const query = parseQuery(row.query);
  if (format === 'csv' || row.query.trim() === '') return null;
  const found = await store
    .transaction({ role: 'read', orgId }, async (tx) => {
      const filter = await prepareFilter(tx, query, { orgId, userId: null, nowMs: createdAt.getTime() });
      return findMatchingStreams(tx, orgId, filter, limits.maxSessions);
    })
    .catch((error: unknown) => {
      if (error instanceof KontextError && error.code === 'KX_TEMPORARY')
        throw failed('the query takes too long: narrow it, for example by since:');
      throw error;
    });
  if (found.isClipped)
    throw failed(`more than ${limits.maxSessions} sessions match: narrow the query, or export everything`);
  return found.streamIds;
}

/** Goes on after the last step; what another process wrote is hashed anew. */
async function openWriter(
  store: Store,
  row: ExportRow,
  { chunks }: ExportCursor,
  hashes: Hashes,
): Promise<Writer> {
  const known = hashes.get(row.id);
  if (known?.bytes === row.bytes) return createExportWriter({ chunks, bytes: row.bytes, hash: known.hash });
  const hash = createHash('sha256');
  for (let chunk = 0; chunk < chunks; chunk += 1) {
    const read = await store.transaction(system, (tx) => readChunk(tx, row.id, chunk));
    if (read === null) throw failed('a piece of the export is missing');
    hash.update(read.data);
  }
  return createExportWriter({ chunks, bytes: row.bytes, hash });
}

/** @param isOver Gives the claim back with the step. @returns The export as it is after it. */
async function takeStep(
  deps: MakeExportsDeps,
  row: ExportRow,
  writer: Writer,
  isOver: boolean,
): Promise<ExportRow> {
  const { store, nowMs, limits, appended } = deps;
  const scope = { role: 'read', orgId: row.orgId } as const;
  const parts = { row, cursor: parseCursor(row.cursor), writer, limits };
  const { step, others } = await store.transaction(scope, async (tx) => ({
    step: await writeStep(tx, parts),
    others: (await sumKeptExports(tx, row.orgId, row.id)).bytes,
  }));
  const pieces = writer.takeChunks();
  const next = toChange(row, step, writer, isOver ? released(nowMs) : new Date(nowMs() + leaseMs));
  if ((next.events ?? 0) > limits.maxEvents)
    throw failed(`it would hold more than ${limits.maxEvents} events: narrow the query`);
  if (writer.bytes > limits.maxBytes)
    throw failed(`it would be larger than ${limits.maxBytes} bytes: narrow the query, or leave payloads out`);
  if (others + writer.bytes > limits.maxKeptBytes)
    throw failed(
      `the exports of the organisation would be larger than ${limits.maxKeptBytes} bytes together: wait until one expires, or narrow the query`,
    );
  const now = new Date(nowMs());
  const done = step.isLast
    ? { state: 'ready' as const, sha256: writer.digest(), finishedAt: now, cursor: '', claimedUntil: null }
    : {};
  await store.transaction(system, async (tx) => {
    await insertChunks(tx, row, pieces);
    const isOurs = await changeExport(tx, row, { ...next, ...done });
    if (!isOurs) throw new KontextError('KX_TEMPORARY', 'an export was taken over by another replica');
    if (step.isLast)
      await appendServerEvent(tx, { orgId: row.orgId, sessionId: null }, toEvent(row, next, writer), now);
  });
  if (step.isLast) appended.notify(row.orgId);
  return { ...row, ...next, ...done };
}

function toChange(row: ExportRow, step: WrittenStep, { state }: Writer, claimedUntil: Date) {
  const cursor = JSON.stringify({ ...step.cursor, chunks: state.chunks });
  return { cursor, claimedUntil, events: row.events + step.events, bytes: state.bytes };
}

const toEvent = (row: ExportRow, { events, bytes }: ExportChange, writer: Writer) => ({
  kind: 'audit.exported' as const,
  user: row.userId,
  facts: {
    ...{ export: row.id, format: row.format, query: row.query, payloads: !row.withoutPayloads },
    ...{ events, bytes, sha256: writer.digest().toString('hex') },
  },
});
