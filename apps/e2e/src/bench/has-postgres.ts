import { partState } from '@kontext/testkit';

/** Whether there is a Postgres to measure on; says on standard error why its rows are left out when there is none. */
export function hasPostgres(): boolean {
  const { reason } = partState('postgres');
  if (reason !== '') process.stderr.write(`bench: no Postgres, its rows are left out: ${reason}\n`);
  return reason === '';
}
