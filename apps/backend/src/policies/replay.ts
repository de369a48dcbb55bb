import { KontextError } from '@kontext/errors';
import type { PolicySet } from '@kontext/policy';
import type { Caller } from '../caller.ts';
import {
  listRecordedCalls,
  type RecordedCall,
  type RecordedCursor,
} from '../store/queries/recorded-calls.ts';
import type { Store } from '../store/store.ts';
import type { PolicyWorkers, ReplayThread } from './policy-workers.ts';
import { createReplayCounter, type ReplayReport } from './replay-report.ts';
import type { Redecided } from './worker-protocol.ts';

/** Which recorded calls. */
export interface ReplayQuery {
  /** Of the last so many seconds, 1 to 90 days. */
  readonly sinceSeconds: number;
  /** Only of members of this group; empty: of everybody. */
  readonly group: string;
}

/** How far a replay is; the last one has a report. */
export interface ReplayProgress {
  readonly calls: number;
  readonly report: ReplayReport | null;
}

/** What a replay needs. */
export interface ReplayDeps {
  readonly store: Store;
  readonly workers: PolicyWorkers;
  readonly nowMs: () => number;
  /** Calls per page; default 250. */
  readonly pageSize?: number;
  /** Most calls; default 200,000. */
  readonly maxCalls?: number;
}

const maxSinceSeconds = 90 * 86_400;

/**
 * Decides recorded calls again with a set, newest first, and counts what would be decided otherwise.
 *
 * The same evaluator as that of the hooks, in a thread of its own; while it decides one page the next one is read. Ends when
 * `signal` is aborted.
 *
 * @throws KontextError `KX_REQUEST_INVALID`, `KX_POLICY_INVALID`, `KX_POLICY_BUSY`, `KX_POLICY_SLOW`.
 */
export async function* replay(
  deps: ReplayDeps,
  { orgId }: Pick<Caller, 'orgId'>,
  set: PolicySet,
  query: ReplayQuery,
  signal: AbortSignal,
): AsyncGenerator<ReplayProgress> {
  const { maxCalls = 200_000 } = deps;
  if (query.sinceSeconds < 1 || query.sinceSeconds > maxSinceSeconds)
    throw new KontextError('KX_REQUEST_INVALID', 'since_seconds must be 1 to 7,776,000 (90 days)');
  const since = new Date(deps.nowMs() - query.sinceSeconds * 1000);
  const read = (before: RecordedCursor | null) =>
    readPage(deps, orgId, { since, group: query.group }, before);
  const thread = await deps.workers.openReplay(orgId, set);
  const stop = () => thread.close();
  signal.addEventListener('abort', stop, { once: true });
  try {
    const counter = createReplayCounter();
    let page = await read(null);
    while (page.length > 0 && counter.calls < maxCalls && !signal.aborted) {
      const [results, next] = await Promise.all([decidePage(thread, page), read(page.at(-1) ?? null)]);
      for (const [index, call] of page.entries()) {
        counter.add(call, results[index] ?? { notReproducible: 'it was not decided' });
      }
      yield { calls: counter.calls, report: null };
      page = next;
    }
    if (!signal.aborted) yield { calls: counter.calls, report: counter.report(page.length > 0) };
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    signal.removeEventListener('abort', stop);
    thread.close();
  }
}

/** Calls per job: the deadline of a job is for so many, also of a large policy on a busy machine. */
const jobSize = 50;

async function decidePage(thread: ReplayThread, page: readonly RecordedCall[]) {
  const results: Redecided[] = [];
  for (let from = 0; from < page.length; from += jobSize) {
    const payloads = page.slice(from, from + jobSize).map(({ payload }) => payload);
    results.push(...(await thread.decide(payloads)));
  }
  return results;
}

const readPage = (
  { store, pageSize: limit = 250 }: ReplayDeps,
  orgId: string,
  query: { readonly since: Date; readonly group: string },
  before: RecordedCursor | null,
): Promise<RecordedCall[]> =>
  store.transaction({ role: 'read', orgId }, (tx) => listRecordedCalls(tx, orgId, query, { before, limit }));
