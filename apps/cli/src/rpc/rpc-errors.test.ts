import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net';
import { generateP256Jwk } from '@kontext/oauth';
import { Secret } from '@kontext/redaction';
import { afterEach, describe, expect, it } from 'vitest';
import { logIn } from '../login/log-in.ts';
import { createTestContext } from '../test-context.ts';
import { openBackend } from './open-backend.ts';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

const listen = async (server: Server, scheme: 'http' | 'https'): Promise<string> => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => server.close());
  return `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`;
};
const pem = (name: string) => readFileSync(new URL(`testdata/${name}`, import.meta.url));

/** A server of each wrong kind. */
const wrongServers: Record<string, () => Promise<string>> = {
  'nothing listens': async () => {
    const url = await listen(createTcpServer(), 'http');
    closers.pop()?.();
    return url;
  },
  'the host is unknown': async () => 'https://kontext.invalid',
  'a web page answers': () =>
    listen(
      createServer((_, res) => res.end('<html>hello</html>')),
      'http',
    ),
  'a web server answers 404': () =>
    listen(
      createServer((_, res) => res.writeHead(404, { 'content-type': 'text/html' }).end('<html>')),
      'http',
    ),
  'another protocol answers': () =>
    listen(
      createTcpServer((socket) => socket.end('220 smtp ready\r\n')),
      'http',
    ),
  'the connection is closed at once': () =>
    listen(
      createTcpServer((socket) => socket.destroy()),
      'http',
    ),
  'a proxy answers 503': () =>
    listen(
      createServer((_, res) => res.writeHead(503).end('busy')),
      'http',
    ),
  'the certificate is self-signed': () =>
    listen(createTlsServer({ cert: pem('self-signed-cert.pem'), key: pem('self-signed-key.pem') }), 'https'),
  'https is asked of a plain http server': async () =>
    (
      await listen(
        createServer((_, res) => res.end()),
        'http',
      )
    ).replace('http:', 'https:'),
};

const expected: [string, string, string][] = [
  ['nothing listens', 'KX_BACKEND_UNREACHABLE', 'KX_BACKEND_UNREACHABLE'],
  ['the host is unknown', 'KX_BACKEND_UNREACHABLE', 'KX_BACKEND_UNREACHABLE'],
  ['a web page answers', 'KX_NOT_A_BACKEND', 'KX_NOT_A_BACKEND'],
  ['a web server answers 404', 'KX_NOT_A_BACKEND', 'KX_NOT_A_BACKEND'],
  ['another protocol answers', 'KX_NOT_A_BACKEND', 'KX_NOT_A_BACKEND'],
  ['the connection is closed at once', 'KX_BACKEND_UNREACHABLE', 'KX_BACKEND_UNREACHABLE'],
  ['a proxy answers 503', 'KX_TEMPORARY', 'KX_TEMPORARY'],
  ['the certificate is self-signed', 'KX_TLS_FAILED', 'KX_TLS_FAILED'],
  ['https is asked of a plain http server', 'KX_TLS_FAILED', 'KX_TLS_FAILED'],
];

describe.each(expected)('when %s', (name, loginCode, callCode) => {
  it(`login says ${loginCode}`, async () => {
    const context = createTestContext({ apiUrl: await wrongServers[name]!() });
    closers.push(context.close);
    await expect(logIn(context, { browser: false })).rejects.toMatchObject({ code: loginCode });
  });

  it(`a refresh says ${callCode}`, async () => {
    const context = createTestContext({ apiUrl: await wrongServers[name]!() });
    closers.push(context.close);
    const backend = await openBackend({ ...context, fresh: freshLogin(context.config.issuer, 0) });
    const clients = await backend.connect();
    await expect(clients.organisation.getCaller({})).rejects.toMatchObject({ code: callCode });
    await expect(backend.calls.endSession({})).rejects.toMatchObject({ code: callCode });
    backend.close();
  });

  it(`a call says ${callCode}`, async () => {
    const context = createTestContext({ apiUrl: await wrongServers[name]!() });
    closers.push(context.close);
    const backend = await openBackend({ ...context, fresh: freshLogin(context.config.issuer, 300) });
    const clients = await backend.connect();
    await expect(clients.organisation.getCaller({})).rejects.toMatchObject({ code: callCode });
    await expect(backend.calls.endSession({})).rejects.toMatchObject({ code: callCode });
    backend.close();
  });
});

it('names `kontext serve` when no backend answers', async () => {
  const context = createTestContext({ apiUrl: await wrongServers['nothing listens']!() });
  closers.push(context.close);
  await expect(logIn(context, { browser: false })).rejects.toMatchObject({
    hint: expect.stringContaining('kontext serve'),
    spec: { exitCode: 69 },
  });
});

/** @param expiresInSeconds 0: the first call refreshes. */
const freshLogin = (iss: string, expiresInSeconds: number) => ({
  login: {
    refreshToken: new Secret('r'),
    jwk: generateP256Jwk(),
    iss,
    sub: 'usr_1',
    name: 'dev',
    org: 'org_1',
    policyKey: 'k',
  },
  store: {
    kind: 'file' as const,
    location: 'nowhere',
    get: async () => null,
    set: async () => undefined,
    delete: async () => false,
    probe: async () => undefined,
  },
  first: { token: new Secret('token'), expiresInSeconds },
});
