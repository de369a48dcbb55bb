/** What the table says of one error, and how a row is written. */
export interface ErrorSpec {
  readonly summary: string;
  readonly exitCode: 1 | 64 | 65 | 69 | 75 | 77 | 78 | 126 | 127 | 10 | 11 | 12 | 13 | 14 | 15;
  readonly rpcCode: RpcCode;
  readonly hint: string;
}

/** The Connect error codes the table uses (https://connectrpc.com/docs/protocol#error-codes). */
export type RpcCode =
  | 'invalid_argument'
  | 'not_found'
  | 'already_exists'
  | 'permission_denied'
  | 'resource_exhausted'
  | 'failed_precondition'
  | 'aborted'
  | 'unavailable'
  | 'internal'
  | 'unauthenticated'
  | 'deadline_exceeded';

/** One row: exit code, Connect code, sentence of the documentation, what to do next. */
export const spec = (
  exitCode: ErrorSpec['exitCode'],
  rpcCode: RpcCode,
  summary: string,
  hint: string,
): ErrorSpec => ({ exitCode, rpcCode, summary, hint });
