/**
 * Rows that a statement gets as parameters: a column of each of their members, for `unnest`.
 *
 * The columns have the type of what they are joined with. A cast in the join itself, from a text, can fail and thereby tell of
 * rows nobody may see, so under row-level security the database would apply it last: after reading all rows that the rest of
 * the key names.
 */
import { type SQL, sql } from 'drizzle-orm';

type Value = string | number;

const columnOf =
  (cast: string) =>
  (values: readonly Value[]): SQL =>
    sql`${sql.param(values.map(String))}::text[]${sql.raw(cast)}`;

/** A column of texts. */
export const textColumn = columnOf('');
/** A column of whole numbers. */
export const bigintColumn = columnOf('::bigint[]');
/** A column of days, `YYYY-MM-DD`. */
export const dateColumn = columnOf('::date[]');
