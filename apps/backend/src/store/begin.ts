import { KontextError } from '@kontext/errors';
import type { TxScope } from './tx.ts';

/** Longest a statement, and a pause between statements of an open transaction, may take on the server. */
export const statementTimeoutMs = 15_000;
const idleTimeoutMs = 30_000;

/**
 * Limits of a transaction. A connection of ours alone gets them once (`SET`), one that is lent by a pooler in each transaction.
 *
 * Statements here are short: what many partitions seem to cost makes the planner compile them, or start helpers, for longer
 * than they run.
 */
const limits = [
  `statement_timeout = ${statementTimeoutMs}`,
  `idle_in_transaction_session_timeout = ${idleTimeoutMs}`,
  'jit = off',
  'max_parallel_workers_per_gather = 0',
];

/** The limits for all transactions of a connection. */
export const sessionLimits = limits.map((limit) => `SET ${limit}`).join('; ');

/** No limit of time, for one transaction: a migration may build an index. */
export const noTimeLimits =
  'SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0';

/**
 * The statements that give a transaction its role and organisation, to be sent in one round trip.
 *
 * They cannot carry parameters (several statements in one message), so the organisation's id is checked here.
 *
 * @param hasLimits The connection has its limits already.
 * @throws KontextError `KX_INTERNAL` when the id has other characters than ids have.
 */
export function encodeScope(scope: TxScope, hasLimits: boolean): string {
  const orgId = scope.orgId ?? '';
  if (!/^[A-Za-z0-9_-]{0,64}$/.test(orgId)) {
    throw new KontextError('KX_INTERNAL', 'not an organisation id');
  }
  const own = hasLimits ? [] : limits.map((limit) => `SET LOCAL ${limit}`);
  return [`SET LOCAL ROLE kontext_${scope.role}`, `SET LOCAL kontext.org_id = '${orgId}'`, ...own].join('; ');
}
