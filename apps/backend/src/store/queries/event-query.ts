/** What a search asks for, as `audit/search/parse-query.ts` reads it and `event-filter.ts` turns it into SQL. */

/** Fields that are compared with a value. */
export type QueryField =
  | 'actor'
  | 'agent'
  | 'decision'
  | 'kind'
  | 'mode'
  | 'provider'
  | 'repo'
  | 'rule'
  | 'session'
  | 'stream'
  | 'tool';

/** `field:value`. */
export interface FieldTerm {
  readonly field: QueryField;
  /** Never empty unless `prefix`. */
  readonly value: string;
  /** Values that begin so, too: a `*` stood at the end. */
  readonly prefix: boolean;
  /** Everything but this: a `-` stood before it. */
  readonly negated: boolean;
}

/** A text that the payload holds. */
export interface TextTerm {
  readonly field: 'text';
  readonly value: string;
  readonly negated: boolean;
}

/** An instant: absolute (RFC 3339 in UTC with milliseconds), or so long before the search. */
export type QueryTime = { readonly at: string } | { readonly agoSeconds: number };

/** A query: every term holds; of a field's terms that are not negated, one. */
export interface EventQuery {
  /** In the order they were written. */
  readonly terms: readonly (FieldTerm | TextTerm)[];
  /** Received then or later. */
  readonly since: QueryTime | null;
  /** Received before. */
  readonly until: QueryTime | null;
}

/** @param nowMs The instant of the search. */
export const toInstant = (time: QueryTime, nowMs: number): Date =>
  'at' in time ? new Date(time.at) : new Date(nowMs - time.agoSeconds * 1000);
