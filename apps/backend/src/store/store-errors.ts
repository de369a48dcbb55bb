import { KontextError } from '@kontext/errors';
import { DrizzleQueryError } from 'drizzle-orm';

/** SQLSTATE classes and codes that say the server cannot be reached or cannot serve now, and socket errors. */
const unreachable =
  /^(08...|53...|57P0[123]|ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EPIPE|ENOENT)$/;
const lostConnection =
  /Connection terminated|is not queryable|connection timeout|timeout exceeded when trying to connect/i;

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
  if ((code !== null && unreachable.test(code)) || lostConnection.test(driver.message)) {
    return new KontextError('KX_STORE_UNREACHABLE', 'the database does not answer', { cause: driver });
  }
  return driver;
}

/** Whether an insert met a row that has the same unique values. */
export function isUniqueViolation(error: unknown): boolean {
  const driver = error instanceof DrizzleQueryError ? error.cause : error;
  return driver instanceof Error && sqlState(driver) === '23505';
}

function sqlState(error: Error): string | null {
  return 'code' in error && typeof error.code === 'string' ? error.code : null;
}
