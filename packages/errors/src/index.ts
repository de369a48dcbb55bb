/** One table of every error: code, message, hint, exit code, RPC code. */
export { formatError } from './format-error.ts';
export { isErrorCode, KontextError, type KontextErrorOptions } from './kontext-error.ts';
export { type ErrorCode, type ErrorSpec, errorTable, type RpcCode } from './table.ts';
