import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setInterval } from 'node:timers';

/**
 * What a hostile or broken provider answers.
 *
 * - `hang`: nothing; `drip`: a byte now and then, for ever; `cut`: half a body, then the connection breaks
 * - `large`: 10 MB of JSON; `redirect`: to an address of a cloud's metadata service
 * - `html`, `html-error`: a page with status 200 or 400; `wrong-type`: good JSON as text/plain; `garbage`: bytes as JSON
 * - `newline-token`, `nul-token`, `control-refresh`: tokens no environment or request can carry
 * - `control-error`: an error and description with control characters
 */
export type HostileAnswer =
  | 'hang'
  | 'drip'
  | 'cut'
  | 'large'
  | 'redirect'
  | 'html'
  | 'html-error'
  | 'wrong-type'
  | 'garbage'
  | 'newline-token'
  | 'nul-token'
  | 'control-refresh'
  | 'control-error';

/** A provider whose every address answers the same way. */
export interface HostileProvider {
  readonly url: string;
  /** Default: as it began. */
  become(answer: HostileAnswer): void;
  close(): Promise<void>;
}

/** What it issues where it issues anything: a test searches for these where they must not be. */
export const hostileTokens = { accessToken: 'hostile-access', refreshToken: 'hostile-refresh' } as const;

/** Starts it on loopback, in this process. */
export async function startHostileProvider(first: HostileAnswer): Promise<HostileProvider> {
  let answer = first;
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => send(response, answer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    become: (next) => {
      answer = next;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const tokens = (change: Readonly<Record<string, unknown>>): string =>
  JSON.stringify({
    ...{ access_token: hostileTokens.accessToken, token_type: 'bearer', expires_in: 3600 },
    ...{ refresh_token: hostileTokens.refreshToken, ...change },
  });

const whole: Readonly<Partial<Record<HostileAnswer, readonly [number, string, string]>>> = {
  html: [200, 'text/html', '<html><body>Welcome</body></html>'],
  'html-error': [400, 'text/html', '<html><body>Bad Request</body></html>'],
  'wrong-type': [200, 'text/plain', tokens({})],
  garbage: [200, 'application/json', '\u0000\ufffd{{{'],
  'newline-token': [200, 'application/json', tokens({ access_token: `${hostileTokens.accessToken}\nB=1` })],
  'nul-token': [200, 'application/json', tokens({ access_token: `${hostileTokens.accessToken}\u0000` })],
  'control-refresh': [
    200,
    'application/json',
    tokens({ refresh_token: `${hostileTokens.refreshToken}\r\nx` }),
  ],
  'control-error': [
    400,
    'application/json',
    JSON.stringify({
      error: 'invalid\u001b[31m_scope',
      error_description: `\u0007${hostileTokens.accessToken}`,
    }),
  ],
};

function send(response: ServerResponse, answer: HostileAnswer): void {
  const [status, type, body] = whole[answer] ?? [200, 'application/json', ''];
  if (answer === 'hang') return;
  if (answer === 'redirect') {
    response.writeHead(302, { location: 'http://169.254.169.254/latest/meta-data/' }).end();
    return;
  }
  response.writeHead(status, { 'content-type': type });
  if (answer === 'drip') {
    const timer = setInterval(() => response.write(' '), 200);
    response.on('close', () => clearInterval(timer));
    response.write('{');
  } else if (answer === 'cut') {
    response.write('{"access_token":"hostile-ac', () => response.destroy());
  } else if (answer === 'large') {
    response.end(tokens({ padding: 'x'.repeat(10 * 1024 * 1024) }));
  } else response.end(body);
}
