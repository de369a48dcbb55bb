import { KontextError } from '@kontext/errors';
import type { TxScope } from './tx.ts';

/** Longest a statement, and a pause between statements of an open transaction, may take on the server. */
const statementTimeoutMs = 15_000;
const idleTimeoutMs = 30_000;

/**
 * The statements that give a transaction its role, organisation and limits, to be sent in one round trip.
 *
 * They cannot carry parameters (several statements in one message), so the organisation's id is checked here.
 *
 * @throws KontextError `KX_INTERNAL` when the id has other characters than ids have.
 */
export function encodeScope(scope: TxScope): string {
  const orgId = scope.orgId ?? '';
  if (!/^[A-Za-z0-9_-]{0,64}$/.test(orgId)) {
    throw new KontextError('KX_INTERNAL', 'not an organisation id');
  }
  return [
    `SET LOCAL ROLE kontext_${scope.role}`,
    `SET LOCAL kontext.org_id = '${orgId}'`,
    `SET LOCAL statement_timeout = ${statementTimeoutMs}`,
    `SET LOCAL idle_in_transaction_session_timeout = ${idleTimeoutMs}`,
    // Statements here are short. What many partitions seem to cost makes the planner compile them, or start helpers, for longer
    // than they run.
    'SET LOCAL jit = off',
    'SET LOCAL max_parallel_workers_per_gather = 0',
  ].join('; ');
}
