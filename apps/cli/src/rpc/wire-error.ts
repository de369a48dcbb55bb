import { Code, ConnectError } from '@connectrpc/connect';
import { codeFromHttpStatus, errorFromJson } from '@connectrpc/connect/protocol-connect';
import type { Answer } from './request.ts';
import { errorDetail, rpcError } from './rpc-error.ts';
import type { ServerClock } from './server-clock.ts';

/** Our code in an answer that is an error of the Connect protocol; undefined when it carries none. */
export const wireErrorCode = (answer: Answer): string | undefined => errorDetail(readError(answer))?.code;

/** Explains an answer that is no success, as {@link rpcError} does. */
export const wireError = (answer: Answer, apiUrl: string, clock: Readonly<ServerClock>): Error =>
  rpcError(readError(answer), apiUrl, clock);

function readError({ status, json }: Answer): ConnectError {
  if (status === 200) return new ConnectError('it does not answer in JSON', Code.Unknown);
  const fallback = new ConnectError(`HTTP ${status}`, codeFromHttpStatus(status));
  try {
    return errorFromJson((json ?? {}) as never, undefined, fallback);
  } catch {
    return fallback;
  }
}
