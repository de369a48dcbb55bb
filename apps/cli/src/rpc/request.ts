import type { Agent } from 'node:http';
import type { Agent as HttpsAgent } from 'node:https';
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
  /** Sent as JSON; not together with `form`. */
  readonly json?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly agent?: Agent | HttpsAgent;
  /** Default 10 s, sensible 1 s to 30 s. */
  readonly timeoutMs?: number;
  /** Ends the request early. */
  readonly signal?: AbortSignal;
  /** Default 1 MiB. */
  readonly maxAnswerBytes?: number;
}

const defaultMaxAnswerBytes = 1024 * 1024;

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

async function send(options: Request): Promise<Answer> {
  const { method, url, agent, signal, timeoutMs = 10_000, maxAnswerBytes = defaultMaxAnswerBytes } = options;
  const { type, body } = encodeBody(options);
  // TLS is loaded where it is spoken.
  const { request: open } = await (url.startsWith('https:') ? import('node:https') : import('node:http'));
  return new Promise((resolve, reject) => {
    const outgoing = open(url, {
      method,
      agent,
      headers: {
        ...(type === null ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(body) }),
        accept: 'application/json',
        ...options.headers,
      },
    });
    // A timer and a listener: the `signal` option would cost the first request of a process milliseconds.
    const giveUp = (): void => void outgoing.destroy(abortError());
    const timer = setTimeout(giveUp, timeoutMs);
    signal?.addEventListener('abort', giveUp);
    if (signal?.aborted) giveUp();
    outgoing.once('close', () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', giveUp);
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

/** As Node's own `AbortError`. */
const abortError = (): Error => Object.assign(new Error('the request was given up'), { code: 'ABORT_ERR' });

function encodeBody({ form, json }: Request): { readonly type: string | null; readonly body: string } {
  if (form !== undefined)
    return { type: 'application/x-www-form-urlencoded', body: new URLSearchParams(form).toString() };
  if (json !== undefined) return { type: 'application/json', body: JSON.stringify(json) };
  return { type: null, body: '' };
}

function parseJson(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
