/**
 * Stable name of a check of the lint.
 *
 * Those that keep a set from being loaded: `unparsable`, `template`, `missing-id`, `bad-id`, `duplicate-id`, `too-large`,
 * `too-deep`, `invalid`, `unknown-effect`, `empty-approver`, `bad-four-eyes`, `four-eyes-without-approver`.
 */
export type FindingCheck =
  | 'unparsable'
  | 'template'
  | 'missing-id'
  | 'bad-id'
  | 'duplicate-id'
  | 'too-large'
  | 'too-deep'
  | 'invalid'
  | 'unknown-effect'
  | 'empty-approver'
  | 'bad-four-eyes'
  | 'four-eyes-without-approver'
  | 'may-fail'
  | 'no-effect'
  | 'unknown-annotation'
  | 'ask-without-reason'
  | 'useless-approver'
  | 'nobody-to-ask'
  | 'never-applies'
  | 'never-matches'
  | 'shadowed'
  | 'denies-everything'
  | 'odd-text';

/** Something the author of a policy should know. */
export interface Finding {
  /** True: the set cannot be published like this. */
  readonly error: boolean;
  readonly check: FindingCheck;
  /** Name of the file as it was given. */
  readonly file: string;
  /** From 1; 0 when unknown. */
  readonly line: number;
  /** From 1, in UTF-16 code units; 0 when unknown. */
  readonly column: number;
  /** Rule it is about; empty when unknown. */
  readonly rule: string;
  /** What is so, one line. */
  readonly message: string;
  /** What to do about it. */
  readonly hint: string;
}

/** Line and column of an offset (UTF-16 code units) in a text, both from 1. */
export function placeOf(text: string, offset: number): { readonly line: number; readonly column: number } {
  const before = text.slice(0, offset);
  const line = before.split('\n').length;
  return { line, column: offset - (before.lastIndexOf('\n') + 1) + 1 };
}
