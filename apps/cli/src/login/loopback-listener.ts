import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { KontextError } from '@kontext/errors';

/** The one path that is answered; registered at the backend. */
const callbackPath = '/callback';
/** For a browser that stops in the middle of its request. */
const requestTimeoutMs = 5_000;

/** Says whether an answer belongs to the login; null when it does, else why not, in words. */
export type CheckAnswer = (answer: URL) => string | null;

/** Waits for the browser to come back. */
export interface LoopbackListener {
  /** `http://127.0.0.1:<port>/callback` */
  readonly redirectUri: string;
  /**
   * The first request to the path; nothing listens after it.
   *
   * @throws KontextError `KX_LOGIN_ANSWER_INVALID` when it does not belong to the login.
   */
  readonly answer: Promise<URL>;
  close(): void;
}

/**
 * Listens on a random port of 127.0.0.1 for the one answer of the browser (RFC 8252 §7.3, §8.3). Anything but a GET of the
 * exact path under the exact host gets 404 and does not count: browsers ask for icons, and names may be rebound to us.
 *
 * @param check Tells a browser at once, while it can still be told, that something is wrong.
 * @param port Default: a free one, chosen by the system.
 * @throws KontextError `KX_LOOPBACK_FAILED` when nothing can listen there.
 */
export async function listenForAnswer(check: CheckAnswer, port = 0): Promise<LoopbackListener> {
  const server = createServer({ requestTimeout: requestTimeoutMs, headersTimeout: requestTimeoutMs });
  server.maxHeadersCount = 100;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(cannotListen(cause)));
    server.listen({ host: '127.0.0.1', port, exclusive: true }, resolve);
  });
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = (): void => {
    server.close();
    server.closeIdleConnections();
  };
  const answer = new Promise<URL>((resolve, reject) => {
    server.on('request', (request, response) => {
      const url = answerOf(request, host);
      if (url === null || !server.listening) return void send(response, 404, 'There is nothing here.');
      // Before the answer is sent: nobody gets a second one.
      close();
      const problem = check(url);
      if (problem !== null) {
        send(response, 400, 'This answer does not belong to the login of your terminal. Close this page.');
        reject(notOurs(problem));
        return;
      }
      send(response, 200, closingWords(url));
      resolve(url);
    });
  });
  // Whoever waits hears of it; until then it must not end the process.
  answer.catch(() => undefined);
  return { redirectUri: `http://${host}${callbackPath}`, answer, close };
}

function answerOf(request: IncomingMessage, host: string): URL | null {
  const target = request.url ?? '';
  if (request.method !== 'GET' || request.headers.host !== host || target.length > 8192) return null;
  if (!target.startsWith('/') || !URL.canParse(target, `http://${host}`)) return null;
  const url = new URL(target, `http://${host}`);
  return url.host === host && url.pathname === callbackPath ? url : null;
}

const closingWords = (answer: URL): string =>
  answer.searchParams.has('error')
    ? 'The terminal was not logged in. You can close this page.'
    : 'Return to your terminal. You can close this page.';

/** No script, no style of others, nothing to be kept: the address holds the code. */
function send(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-store',
    connection: 'close',
  });
  response.end(
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>kontext</title><p>${text}</p></html>\n`,
  );
}

const cannotListen = (cause: Error): KontextError =>
  new KontextError('KX_LOOPBACK_FAILED', 'the terminal cannot listen for the answer of the browser', {
    why: `listening on 127.0.0.1 failed: ${'code' in cause ? String(cause.code) : cause.message}`,
    cause,
  });

const notOurs = (why: string): KontextError =>
  new KontextError('KX_LOGIN_ANSWER_INVALID', 'the answer of the browser does not belong to this login', {
    why,
  });
