/**
 * How an event kind is described: once, here and in the tables beside this file. JSON Schema, documentation and the tests that
 * hold recorded events against both are made from it.
 */

/**
 * Type of a member: `text`, `count` (integer from 0), `flag`, `instant` (RFC 3339), `texts`, `object`, `any`; `null|…` when it
 * may be null, and with `?` at the end when it may be absent.
 */
type Base = 'text' | 'count' | 'flag' | 'instant' | 'texts' | 'object' | 'any';
/** See {@link Base}. */
export type FieldType = `${'' | 'null|'}${Base}${'' | '?'}`;

/** Members of a payload: type and meaning. */
export type Fields = Readonly<Record<string, readonly [FieldType, string]>>;

/** One form of a kind's payload. */
export interface PayloadForm {
  /** When it has this form; empty where there is one form only. */
  readonly when: string;
  readonly fields: Fields;
  readonly example: Readonly<Record<string, unknown>>;
}

/** One kind. */
export interface KindSpec {
  /** What happened. */
  readonly says: string;
  /** Who writes it: the hook server on a developer's machine, the backend, or both. */
  readonly by: 'client' | 'server' | 'both';
  readonly forms: readonly PayloadForm[];
}

/** A kind with one form. */
export const kind = (
  by: KindSpec['by'],
  says: string,
  fields: Fields,
  example: PayloadForm['example'],
): KindSpec => ({ by, says, forms: [{ when: '', fields, example }] });

/** A kind with several forms. */
export const kindOf = (by: KindSpec['by'], says: string, ...forms: readonly PayloadForm[]): KindSpec => ({
  by,
  says,
  forms,
});
