import { type ErrorCode, KontextError } from '@kontext/errors';
import { DrizzleQueryError } from 'drizzle-orm';

/** SQLSTATE classes and codes that say the server cannot be reached or cannot serve now, and socket errors. */
const unreachable =
  /^(08...|53...|57P0[123]|ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EPIPE|ENOENT)$/;
const lostConnection =
  /Connection terminated|is not queryable|connection timeout|query read timeout|timeout exceeded when trying to connect/i;

/** What else an error can mean that is no fault of ours; by SQLSTATE (Postgres manual, appendix A). */
const explained: Readonly<
  Record<string, { readonly code: ErrorCode; readonly message: string; readonly why: string }>
> = {
  ...sameFor(['22021', '22P05'], 'KX_REQUEST_INVALID', 'a text cannot be stored', 'it holds NUL'),
  ...sameFor(
    ['57014', '55P03', '40001', '40P01'],
    'KX_TEMPORARY',
    'the database was too busy',
    'a statement waited too long for others',
  ),
  ...sameFor(
    ['28000', '28P01'],
    'KX_STORE_UNREACHABLE',
    'the database does not let the backend in',
    'it refuses the user or password of DATABASE_URL',
  ),
  ...sameFor(
    ['3D000'],
    'KX_STORE_UNREACHABLE',
    'the database does not exist',
    'DATABASE_URL names another one than the server has',
  ),
  // What pgbouncer says itself, whatever it is about.
  ...sameFor(
    ['08P01'],
    'KX_STORE_UNREACHABLE',
    'the database does not answer',
    'a pooler in front of it had no server in time or refuses the backend: its log says why',
  ),
};

function sameFor(states: readonly string[], code: ErrorCode, message: string, why: string) {
  return Object.fromEntries(states.map((state) => [state, { code, message, why }]));
}

/** The error of a transaction that was rolled back although nothing was thrown in it. */
export const notCommitted = (cause?: unknown): KontextError =>
  new KontextError('KX_INTERNAL', 'a transaction was not committed', {
    why: 'one of its statements had failed, and its error was passed over',
    ...(cause === undefined ? {} : { cause }),
  });

/** Says what a database user lacks who may not migrate (SQLSTATE 42501); another error passes as it is. */
export function explainMigration(error: unknown): unknown {
  if (!(error instanceof Error) || sqlState(error) !== '42501') return error;
  return new KontextError('KX_CONFIG_INVALID', 'the user of DATABASE_URL may not migrate', {
    why: 'it needs CREATEROLE, and to own the database or to have CREATE on its schema',
    hint: 'grant that, or run `kontext-backend migrate` as another user',
    cause: error,
  });
}

/**
 * Turns what a driver throws into what the rest of the backend handles.
 *
 * drizzle puts the statement and its parameters into its message, which could carry a secret into a log: only the driver's
 * own error is kept.
 */
export function translateStoreError(error: unknown): unknown {
  const driver = error instanceof DrizzleQueryError ? (error.cause ?? new Error('query failed')) : error;
  if (driver instanceof KontextError || !(driver instanceof Error)) return driver;
  const code = sqlState(driver);
  const known = code === null ? undefined : explained[code];
  if (known) return new KontextError(known.code, known.message, { why: known.why, cause: driver });
  if ((code !== null && unreachable.test(code)) || lostConnection.test(driver.message)) {
    return new KontextError('KX_STORE_UNREACHABLE', 'the database does not answer', { cause: driver });
  }
  return driver;
}

/** Whether a named statement gives other columns than when it was planned, or is not known any more. */
export const isStalePlan = (error: unknown): boolean => hasState(error, ['0A000', '26000']);

/** Whether an insert met a row that has the same unique values. */
export const isUniqueViolation = (error: unknown): boolean => hasState(error, ['23505']);

/**
 * Whether somebody else came first: an insert met a row with the same unique values, or what it refers to has just been
 * removed. Looking again finds how things are now.
 */
export const isOvertaken = (error: unknown): boolean => hasState(error, ['23505', '23503']);

function hasState(error: unknown, states: readonly string[]): boolean {
  const driver = error instanceof DrizzleQueryError ? error.cause : error;
  return driver instanceof Error && states.includes(sqlState(driver) ?? '');
}

function sqlState(error: Error): string | null {
  return 'code' in error && typeof error.code === 'string' ? error.code : null;
}
