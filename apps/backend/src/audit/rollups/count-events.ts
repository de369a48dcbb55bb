import { KontextError } from '@kontext/errors';
import type { Caller } from '../../caller.ts';
import {
  type BucketCount,
  countOverTime,
  countValues,
  isRollupField,
  prepareRollupFilter,
  type RollupField,
  type RollupFilter,
  readCountedUntil,
  type ValueCount,
} from '../../store/queries/rollups.ts';
import type { Store } from '../../store/store.ts';
import type { Tx } from '../../store/tx.ts';
import { parseQuery } from '../search/parse-query.ts';
import { queryInvalid, splitQuery } from '../search/split-query.ts';

/** Values of one field; `clipped`: there are more. */
export interface EventFacet {
  readonly field: string;
  readonly values: readonly ValueCount[];
  readonly clipped: boolean;
}

/** Counts, and up to which instant everything is counted. */
export interface Counted<T> {
  readonly counts: readonly T[];
  readonly countedUntil: Date;
}

/** What both kinds of counts need. */
export interface CountDeps {
  readonly store: Store;
  readonly nowMs: () => number;
}

/** Facets as the wire names them; a person is `user` there and `actor:` in a query. */
const facetFields: ReadonlyMap<string, RollupField> = new Map([
  ['kind', 'kind'],
  ['tool', 'tool'],
  ['decision', 'decision'],
  ['mode', 'mode'],
  ['user', 'actor'],
  ['agent', 'agent'],
]);

/**
 * The most frequent values of some fields among the events of a query. For roles that see the organisation.
 *
 * @param request.fields Empty: all. @param request.limit Values of each, 1 to 100; 0 means 10.
 * @throws KontextError `KX_QUERY_INVALID` also for terms that roll-ups do not know; `KX_REQUEST_INVALID`.
 */
export async function countFacets(
  deps: CountDeps,
  caller: Caller,
  request: { readonly query: string; readonly fields: readonly string[]; readonly limit: number },
): Promise<Counted<EventFacet>> {
  const limit = request.limit === 0 ? 10 : request.limit;
  if (limit < 1 || limit > 100) throw invalid('limit must be 1 to 100');
  const names = request.fields.length === 0 ? [...facetFields.keys()] : [...new Set(request.fields)];
  const fields = names.map((name) => {
    const field = facetFields.get(name);
    if (field === undefined) throw invalid(`the fields are ${[...facetFields.keys()].join(', ')}`);
    return [name, field] as const;
  });
  return count(deps, caller, request.query, async (tx, filter) => {
    const asked = fields.map(([, field]) => field);
    const counted = await countValues(tx, filter, asked, limit + 1);
    return fields.map(([name, field]) => {
      const values = counted.get(field) ?? [];
      return { field: name, values: values.slice(0, limit), clipped: values.length > limit };
    });
  });
}

const hourSeconds = 3600;
/** Most spans of time one answer holds. */
const maxBuckets = 2000;

/**
 * The events of a query over time; spans without an event are left out. For roles that see the organisation.
 *
 * @param request.bucketSeconds A multiple of 3,600; 0 means 3,600.
 * @throws KontextError `KX_QUERY_INVALID` also for terms that roll-ups do not know; `KX_REQUEST_INVALID`, also for more spans of
 *   time than 2,000.
 */
export async function countHistogram(
  deps: CountDeps,
  caller: Caller,
  request: { readonly query: string; readonly bucketSeconds: number },
): Promise<Counted<BucketCount>> {
  const seconds = request.bucketSeconds === 0 ? hourSeconds : request.bucketSeconds;
  if (seconds < hourSeconds || seconds % hourSeconds !== 0) {
    throw invalid('bucket_seconds must be a multiple of 3,600');
  }
  return count(deps, caller, request.query, async (tx, filter) => {
    const buckets = await countOverTime(tx, filter, seconds, maxBuckets + 1);
    if (buckets.length > maxBuckets) throw invalid('there are more than 2,000 buckets: choose longer ones');
    return buckets;
  });
}

async function count<T>(
  { store, nowMs }: CountDeps,
  { orgId }: Caller,
  text: string,
  work: (tx: Tx, filter: RollupFilter) => Promise<readonly T[]>,
): Promise<Counted<T>> {
  const query = parseQuery(text);
  for (const { field, position } of splitQuery(text)) {
    if (field === 'since' || field === 'until' || (field !== null && isRollupField(field))) continue;
    const instead = 'use actor, agent, decision, kind, mode, tool, since and until, or search instead';
    throw queryInvalid(position, `events are not counted by ${field ?? 'text'}`, instead);
  }
  const now = nowMs();
  return store.transaction({ role: 'read', orgId }, async (tx) => {
    // First what is counted: what is counted meanwhile makes the counts newer than they say, never older.
    const countedUntil = await readCountedUntil(tx, orgId, new Date(now));
    const filter = await prepareRollupFilter(tx, query, orgId, now);
    return { counts: await work(tx, filter), countedUntil };
  });
}

const invalid = (message: string): KontextError => new KontextError('KX_REQUEST_INVALID', message);
