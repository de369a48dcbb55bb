import type { ServerResponse } from 'node:http';

/**
 * How the upstream misbehaves.
 *
 * - `500`, `429` (with `Retry-After: 1`), `invalid_grant`, `garbage` (200, not JSON): answered at once, nothing is done
 * - `hang`: never answers; `slow-body`: headers, then a byte now and then, for ever; nothing is done
 * - `lost-answer`: the work is done, then the connection is cut before the answer
 * - `no-expires`: the answer carries no `expires_in`
 */
export type FaultMode =
  | 'none'
  | '500'
  | '429'
  | 'invalid_grant'
  | 'garbage'
  | 'hang'
  | 'slow-body'
  | 'lost-answer'
  | 'no-expires';

/** Which requests the fault meets; `remaining` counts down to the return of normal service. */
export interface Fault {
  readonly mode: FaultMode;
  readonly on: 'token' | 'api' | 'all';
  remaining: number;
}

/**
 * Applies the fault to one request.
 *
 * @returns true when the request is answered (or left hanging) and must not be worked on.
 */
export function applyFault(mode: FaultMode, response: ServerResponse): boolean {
  switch (mode) {
    case 'none':
      return false;
    case 'hang':
      return true;
    case '500':
      sendJson(response, 500, { error: 'server_error' });
      return true;
    case '429':
      response.setHeader('retry-after', '1');
      sendJson(response, 429, { error: 'slow_down' });
      return true;
    case 'invalid_grant':
      sendJson(response, 400, { error: 'invalid_grant', error_description: 'grant request is invalid' });
      return true;
    case 'garbage':
      response.writeHead(200, { 'content-type': 'application/json' }).end('<html>oops');
      return true;
    case 'slow-body':
      drip(response);
      return true;
    case 'lost-answer':
      replaceEnd(response, () => response.destroy());
      return false;
    case 'no-expires':
      dropExpiry(response);
      return false;
  }
}

/** Sends a JSON body that nobody may cache. */
export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(JSON.stringify(body));
}

function drip(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.write('{');
  const timer = setInterval(() => response.write(' '), 500);
  response.on('close', () => clearInterval(timer));
}

function dropExpiry(response: ServerResponse): void {
  const end = response.end.bind(response);
  replaceEnd(response, (text) => {
    const { expires_in: _, ...rest } = JSON.parse(text) as Record<string, unknown>;
    const body = JSON.stringify(rest);
    response.setHeader('content-length', Buffer.byteLength(body));
    end(body);
  });
}

/** The provider's framework sends its whole body with one `end`: the one place to change or swallow it. */
function replaceEnd(response: ServerResponse, send: (body: string) => void): void {
  response.end = ((body?: string | Buffer) => {
    send(String(body ?? ''));
    return response;
  }) as ServerResponse['end'];
}
