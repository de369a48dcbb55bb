import { createHash } from 'node:crypto';
import { isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { type Caller, seesOrganisation } from '../../caller.ts';
import type { EventRow } from '../../store/queries/audit-events.ts';
import { prepareFilter } from '../../store/queries/event-filter.ts';
import {
  findEvents,
  readEventsAt,
  type SearchBudget,
  type SearchPlace,
} from '../../store/queries/search-events.ts';
import type { Store } from '../../store/store.ts';
import { parseQuery } from './parse-query.ts';

/** What is searched for. */
export interface EventSearch {
  /** The grammar of `parse-query.ts`; empty: everything the caller may see. */
  readonly query: string;
  /** 1 to 200; 0 means 50. */
  readonly pageSize: number;
  /** `next` of the page before; empty begins with the newest. */
  readonly cursor: string;
  readonly payloads: boolean;
}

/** One page, newest first. */
export interface FoundEvents {
  readonly events: readonly EventRow[];
  /** Null: everything was searched. A page can end before it is full, because each looks at a bounded number of rows. */
  readonly next: string | null;
  /** Everything received at or after it was looked at; null: everything there is. */
  readonly searchedUntil: Date | null;
}

/** How the search works; the defaults are those of the backend. */
export interface SearchOptions {
  readonly nowMs: () => number;
  /** Rows a page looks at where no index answers; default 60,000, and 3,600 where payloads are searched. */
  readonly budget?: Pick<SearchBudget, 'chunk' | 'textChunk' | 'chunks'>;
}

const defaultBudget = { chunk: 20_000, textChunk: 1_200, chunks: 3 };
/** A page begins nothing new after so long. */
const pageMs = 2_000;

/**
 * Finds events by a query, newest first, among what the caller may see.
 *
 * Times of a query that are relative count from its first page. Events that are stored while pages are read may be missing: the
 * list goes back in time.
 *
 * @throws KontextError `KX_QUERY_INVALID` when the query cannot be read.
 * @throws KontextError `KX_REQUEST_INVALID` when page size or cursor cannot be used.
 */
export async function searchEvents(
  store: Store,
  caller: Caller,
  search: EventSearch,
  { nowMs, budget = defaultBudget }: SearchOptions,
): Promise<FoundEvents> {
  const limit = search.pageSize === 0 ? 50 : search.pageSize;
  if (limit < 1 || limit > 200) throw invalid('page_size must be 1 to 200');
  const query = parseQuery(search.query);
  const cursor = search.cursor === '' ? null : openCursor(search.cursor, search.query);
  const startedAtMs = cursor?.startedAtMs ?? nowMs();
  const userId = seesOrganisation(caller) ? null : caller.userId;
  return store.transaction({ role: 'read', orgId: caller.orgId }, async (tx) => {
    const filter = await prepareFilter(tx, query, { orgId: caller.orgId, userId, nowMs: startedAtMs });
    const limits = { ...budget, nowMs, untilMs: nowMs() + pageMs };
    const { places, next } = await findEvents(tx, filter, cursor?.place ?? null, limit, limits);
    const rows = await readEventsAt(tx, places);
    return {
      events: search.payloads ? rows : rows.map(withoutPayload),
      next: next && sealCursor({ place: next, startedAtMs }, search.query),
      searchedUntil: next?.receivedAt ?? filter.since,
    };
  });
}

const withoutPayload = (row: EventRow): EventRow => ({ ...row, payload: null, salt: null });

interface Cursor {
  readonly place: SearchPlace;
  /** When the first page was asked for. */
  readonly startedAtMs: number;
}

/** Opaque to callers, and good for its own query alone. It says nothing that the caller could not ask for. */
function sealCursor({ place, startedAtMs }: Cursor, query: string): string {
  const { receivedAt, streamId, seq } = place;
  const fields = [1, hashOf(query), startedAtMs, receivedAt.getTime(), streamId, seq];
  return Buffer.from(JSON.stringify(fields)).toString('base64url');
}

function openCursor(text: string, query: string): Cursor {
  const [version, hash, startedAtMs, receivedAtMs, streamId, seq] = fieldsOf(text);
  if (version !== 1 || !isMs(startedAtMs) || !isMs(receivedAtMs) || !Number.isSafeInteger(seq)) {
    throw invalid('page_token is not one of ours');
  }
  if (streamId !== '' && !(typeof streamId === 'string' && isId('str', streamId))) {
    throw invalid('page_token is not one of ours');
  }
  if (hash !== hashOf(query)) throw invalid('page_token is of another query');
  return { place: { receivedAt: new Date(receivedAtMs), streamId, seq: seq as number }, startedAtMs };
}

function fieldsOf(text: string): unknown[] {
  try {
    const value: unknown = text.length > 400 ? null : JSON.parse(Buffer.from(text, 'base64url').toString());
    return Array.isArray(value) ? value : [];
  } catch {
    return [];
  }
}

const lastMs = Date.parse('9999-01-01');
const isMs = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < lastMs;

const hashOf = (query: string): string => createHash('sha256').update(query).digest('base64url').slice(0, 12);

const invalid = (message: string): KontextError => new KontextError('KX_REQUEST_INVALID', message);
