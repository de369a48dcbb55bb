import { KontextError } from '@kontext/errors';
import { type DestinationStream, type Logger, pino } from 'pino';

export type { Logger } from 'pino';

/** What a request log line is made from. */
interface LoggedRequest {
  readonly method: string;
  readonly url: string;
  readonly ip: string;
  readonly id: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

/** Headers that may stand in a log. Everything else may carry a token, a proof or a cookie. */
const loggedHeaders = ['user-agent', 'content-type', 'content-length'] as const;

/**
 * Creates the structured log, JSON lines.
 *
 * Rules: headers by allow-list; a URL without its query (it may hold a code); of a foreign error its type, code and
 * stack frames but not its message (a database error repeats the parameters of its query).
 *
 * @param level Least severe level written.
 * @param destination Where lines go; standard error when left out, standard output is for results.
 */
export function createLogger(level: string, destination: DestinationStream = pino.destination(2)): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: { req: describeRequest, err: describeError },
    },
    destination,
  );
}

/** The loggable part of a request: method, path, address, id, allow-listed headers. */
export function describeRequest(request: LoggedRequest): Record<string, unknown> {
  return {
    id: request.id,
    method: request.method,
    path: request.url.split('?', 1)[0],
    ip: request.ip,
    headers: Object.fromEntries(
      loggedHeaders.flatMap((name) =>
        request.headers[name] === undefined ? [] : [[name, request.headers[name]]],
      ),
    ),
  };
}

/** The loggable part of an error; causes to a depth of three. */
export function describeError(error: unknown, depth = 0): Record<string, unknown> {
  if (!(error instanceof Error)) return { type: typeof error };
  const code =
    'code' in error && /^[A-Za-z0-9_]{1,40}$/.test(String(error.code)) ? String(error.code) : undefined;
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  return {
    type: error.name,
    code,
    message: error instanceof KontextError ? error.message : undefined,
    stack: frames.slice(0, 12).map((line) => line.trim()),
    cause: error.cause === undefined || depth >= 3 ? undefined : describeError(error.cause, depth + 1),
  };
}
