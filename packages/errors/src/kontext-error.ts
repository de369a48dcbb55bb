import { type ErrorCode, type ErrorSpec, errorTable } from './table.ts';

/** What an error carries besides its code and message. */
export interface KontextErrorOptions {
  /** Why it happened, lower case, no full stop; the summary of the table when left out. */
  readonly why?: string;
  /** What to do next; the hint of the table when left out. */
  readonly hint?: string;
  /** The original error, wrapped once. */
  readonly cause?: unknown;
  /** Facts for programs: extension members of an OAuth answer, line numbers. Never a secret. */
  readonly details?: Readonly<Record<string, string | number>>;
}

/** The one error class. `message` says what happened, `why` and `hint` the rest; `code` is for programs. */
export class KontextError extends Error {
  override readonly name = 'KontextError';
  readonly code: ErrorCode;
  readonly why: string;
  readonly hint: string;
  readonly details: Readonly<Record<string, string | number>>;

  constructor(code: ErrorCode, message: string, options: KontextErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.why = options.why ?? errorTable[code].summary;
    this.hint = options.hint ?? errorTable[code].hint;
    this.details = options.details ?? {};
  }

  /** The row of the table: exit code and RPC code. */
  get spec(): ErrorSpec {
    return errorTable[this.code];
  }
}

/** Whether a string is a code of the table, for codes that arrive over the wire. */
export const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(errorTable, code);
