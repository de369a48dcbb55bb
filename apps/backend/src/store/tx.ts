import type { Assume } from 'drizzle-orm';
import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core';

interface Rows<T> {
  readonly rows: T[];
}

interface RowsResult extends PgQueryResultHKT {
  type: Rows<Assume<this['row'], Record<string, unknown>>>;
}

/**
 * The handle of one open transaction: what both drivers have in common. Queries take it as their first argument.
 *
 * There is no nested `transaction` on it: a function that is handed a `Tx` is part of the caller's transaction.
 */
export type Tx = Omit<PgDatabase<RowsResult>, 'transaction' | '$client'>;

/**
 * Who a transaction is: its database role and its organisation, both enforced by the database.
 *
 * `app`, `ingest` and `read` see one organisation. `system` sees all; it is for what happens before an organisation is known
 * (login, the authorization server) and for sweepers. `retention` deletes what has expired; `erase` alone may delete payloads of
 * one organisation, and move them. Rights: migrations/0001_roles.sql, 0016_retention_classes.sql.
 */
export type TxScope =
  | { readonly role: 'app' | 'ingest' | 'read' | 'erase'; readonly orgId: string }
  | { readonly role: 'system' | 'retention'; readonly orgId: string | null };
