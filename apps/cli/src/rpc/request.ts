import { type Agent, request as httpRequest } from 'node:http';
import { type Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { networkError } from './network-error.ts';

/** An answer of the backend outside RPC. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The body as JSON, null when it is none. */
  readonly json: Readonly<Record<string, unknown>> | null;
}

/** One request. */
export interface Request {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  /** Sent as a form. */
  readonly form?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly agent?: Agent | HttpsAgent;
  /** Default 10 s, sensible 1 s to 30 s. */
  readonly timeoutMs?: number;
}

const maxAnswerBytes = 1024 * 1024;

/**
 * Sends a request and reads a JSON answer, on node's own client: it costs a tenth of the start of `fetch`.
 *
 * @throws KontextError `KX_BACKEND_UNREACHABLE`, `KX_TLS_FAILED` or `KX_NOT_A_BACKEND`; any HTTP status is an answer.
 */
export async function request(options: Request): Promise<Answer> {
  try {
    return await send(options);
  } catch (error) {
    throw networkError(error, options.url);
  }
}

function send(options: Request): Promise<Answer> {
  const body = options.form === undefined ? '' : new URLSearchParams(options.form).toString();
  const open = options.url.startsWith('https:') ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const outgoing = open(options.url, {
      method: options.method,
      agent: options.agent,
      signal: AbortSignal.timeout(options.timeoutMs ?? 10_000),
      headers: {
        ...(options.form === undefined ? {} : formHeaders(body)),
        accept: 'application/json',
        ...options.headers,
      },
    });
    outgoing.once('error', reject);
    outgoing.once('response', (incoming) => {
      let text = '';
      incoming.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        if (text.length > maxAnswerBytes) incoming.destroy(new Error('the answer is too large'));
      });
      incoming.once('error', reject);
      incoming.once('end', () =>
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, json: parseJson(text) }),
      );
    });
    outgoing.end(body);
  });
}

const formHeaders = (body: string) => ({
  'content-type': 'application/x-www-form-urlencoded',
  'content-length': Buffer.byteLength(body),
});

function parseJson(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
