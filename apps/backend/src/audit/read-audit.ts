import { isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { type Caller, seesOrganisation } from '../caller.ts';
import { type EventRow, readEvents } from '../store/queries/audit-events.ts';
import {
  findStream,
  listStreams,
  type StreamFilter,
  type StreamRow,
} from '../store/queries/audit-streams.ts';
import type { Store } from '../store/store.ts';

/** One page of a list; `next` is the cursor of the following one, null on the last. */
export interface StreamPage {
  readonly streams: readonly StreamRow[];
  readonly next: string | null;
}

/** What a caller may see of the audit log: an overseer everything, a member the streams of their own sessions. */
export const visibleStreams = (caller: Caller, sessionId: string | null): StreamFilter => ({
  sessionId,
  userId: seesOrganisation(caller) ? null : caller.userId,
});

/**
 * Lists streams the caller may see, newest first.
 *
 * @param sessionId Null: of every session, and for overseers the admin stream.
 * @param pageSize 1 to 200; 0 means 50.
 * @param cursor `next` of the page before; empty begins with the newest.
 * @throws KontextError `KX_REQUEST_INVALID` when page size or cursor cannot be used.
 */
export async function listVisibleStreams(
  store: Store,
  caller: Caller,
  query: { readonly sessionId: string | null; readonly pageSize: number; readonly cursor: string },
): Promise<StreamPage> {
  const limit = query.pageSize === 0 ? 50 : query.pageSize;
  if (limit < 1 || limit > 200) throw invalid('page_size must be 1 to 200');
  if (query.cursor !== '' && !isId('str', query.cursor)) throw invalid('page_token is not one of ours');
  const before = query.cursor === '' ? null : query.cursor;
  const streams = await store.transaction({ role: 'read', orgId: caller.orgId }, (tx) =>
    listStreams(tx, visibleStreams(caller, query.sessionId), { before, limit }),
  );
  return { streams, next: streams.length < limit ? null : (streams.at(-1)?.id ?? null) };
}

/**
 * Reads raw rows of one stream in order of seq, together with its head.
 *
 * Head and rows are of one instant: the head is never older than the rows.
 *
 * @param fromSeq 0 means 1.
 * @param pageSize 1 to 1,000; 0 means 500.
 * @throws KontextError `KX_NOT_FOUND` when there is no such stream, or the caller may not see it.
 */
export async function readVisibleStream(
  store: Store,
  caller: Caller,
  query: { readonly streamId: string; readonly fromSeq: number; readonly pageSize: number },
): Promise<{ stream: StreamRow; events: EventRow[] }> {
  const limit = query.pageSize === 0 ? 500 : query.pageSize;
  if (limit < 1 || limit > 1000) throw invalid('page_size must be 1 to 1,000');
  if (query.fromSeq < 0 || !Number.isSafeInteger(query.fromSeq)) throw invalid('from_seq is not a seq');
  return store.transaction({ role: 'read', orgId: caller.orgId }, async (tx) => {
    const stream = await findStream(tx, query.streamId);
    const visible = stream !== null && (seesOrganisation(caller) || stream.userId === caller.userId);
    if (!visible) throw new KontextError('KX_NOT_FOUND', 'there is no such audit stream, or it is not yours');
    // Events stored after the head was read stay out: the reader would take them for rows beyond the head.
    const wanted = Math.min(limit, stream.headSeq - Math.max(query.fromSeq, 1) + 1);
    const events = wanted < 1 ? [] : await readEvents(tx, stream.id, Math.max(query.fromSeq, 1), wanted);
    return { stream, events };
  });
}

const invalid = (message: string): KontextError => new KontextError('KX_REQUEST_INVALID', message);
