import { connect as connectHttp2 } from 'node:http2';
import { request as requestHttps } from 'node:https';
import { type AddressInfo, connect as connectTcp } from 'node:net';
import { Writable } from 'node:stream';
import { createSelfSignedCertificate } from '@kontext/testkit';
import type { FastifyInstance } from 'fastify';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createLogger } from '../log.ts';
import { registerSecurityHeaders } from './security-headers.ts';
import { createServer } from './server.ts';

const logger = createLogger('silent');
let app: FastifyInstance | null = null;
afterEach(async () => {
  await app?.close();
  app = null;
});

const listen = async (server: FastifyInstance): Promise<number> => {
  app = server;
  await server.listen({ host: '127.0.0.1', port: 0 });
  return (server.server.address() as AddressInfo).port;
};

describe('createServer', () => {
  it('answers unknown paths without repeating them', async () => {
    const answer = await createServer({ logger, tls: null, trustedProxies: [] }).inject({
      url: '/nothing<script>',
    });
    expect(answer.statusCode).toBe(404);
    expect(answer.body).toBe('{"error":"not_found"}');
  });

  it('logs the route of a link and not the ticket that stands in its path', async () => {
    const lines: string[] = [];
    const sink = new Writable({
      write(chunk, _encoding, done) {
        lines.push(String(chunk));
        done();
      },
    });
    const server = createServer({ logger: createLogger('info', sink), tls: null, trustedProxies: [] });
    server.get('/connect/:ticket', () => 'here');
    await server.inject({ url: '/connect/a-ticket?code=a-code' });
    expect(lines.join('')).toContain('"path":"/connect/:ticket"');
    expect(lines.join('')).not.toMatch(/a-ticket|a-code/);
  });

  it('never shows the text of an unexpected error', async () => {
    const server = createServer({ logger, tls: null, trustedProxies: [] });
    server.get('/', () => {
      throw new Error('s3cret');
    });
    const answer = await server.inject({ url: '/' });
    expect(answer.statusCode).toBe(500);
    expect(answer.body).not.toContain('s3cret');
  });

  it('believes X-Forwarded-For of trusted proxies alone', async () => {
    const seen = async (trustedProxies: string[]) => {
      const server = createServer({ logger, tls: null, trustedProxies });
      server.get('/', (request) => ({ ip: request.ip }));
      return (await server.inject({ url: '/', headers: { 'x-forwarded-for': '203.0.113.9' } })).json().ip;
    };
    expect(await seen([])).toBe('127.0.0.1');
    expect(await seen(['127.0.0.1'])).toBe('203.0.113.9');
  });

  it('closes a connection that it answered before the body was read', async () => {
    const server = createServer({ logger, tls: null, trustedProxies: [] });
    server.addHook('onRequest', async (request, reply) => {
      if (request.url === '/early') await reply.code(401).send('no');
    });
    server.post('/early', () => 'late');
    server.get('/whole', () => 'whole');
    const port = await listen(server);
    const exchange = (text: string) =>
      new Promise<string>((resolve) => {
        const socket = connectTcp(port, '127.0.0.1', () => socket.write(text));
        socket.once('data', (chunk) => {
          resolve(String(chunk));
          socket.destroy();
        });
      });
    const early = await exchange(
      'POST /early HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: 9\r\n\r\n',
    );
    expect(early).toMatch(/^HTTP\/1.1 401 [\s\S]*connection: close/i);
    expect(await exchange('GET /whole HTTP/1.1\r\nHost: x\r\n\r\n')).toMatch(/connection: keep-alive/i);
  });

  it('stops in time although a client never finishes its request', async () => {
    const server = createServer({ logger, tls: null, trustedProxies: [], graceMs: 50 });
    server.post('/slow', () => 'never');
    const port = await listen(server);
    const socket = connectTcp(port, '127.0.0.1', () =>
      socket.write(
        'POST /slow HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nab',
      ),
    );
    socket.on('error', () => undefined);
    await new Promise((resolve) => server.server.once('request', resolve));
    const closed = new Promise((resolve) => socket.once('close', resolve));
    await server.close();
    await closed;
    expect(socket.destroyed).toBe(true);
  });

  it('tells browsers to stay with https only when they came by it', async () => {
    for (const https of [true, false]) {
      const server = createServer({ logger, tls: null, trustedProxies: [] });
      registerSecurityHeaders(server, https);
      const answer = await server.inject({ url: '/' });
      expect('strict-transport-security' in answer.headers).toBe(https);
    }
  });
});

describe('createServer with TLS', () => {
  let tls: { cert: Buffer; key: Buffer };
  beforeAll(async () => {
    tls = await createSelfSignedCertificate();
  });

  const start = () => {
    const server = createServer({ logger, tls, trustedProxies: [] });
    server.get('/', (request) => request.raw.httpVersion);
    return listen(server);
  };

  it('speaks HTTP/2 and HTTP/1.1 on one port', async () => {
    const port = await start();
    const h1 = await new Promise<string>((resolve, reject) => {
      requestHttps({ host: '127.0.0.1', port, ca: tls.cert, agent: false }, (response) => {
        response.on('data', (chunk) => resolve(String(chunk)));
      })
        .on('error', reject)
        .end();
    });
    const session = connectHttp2(`https://127.0.0.1:${port}`, { ca: tls.cert });
    const h2 = await new Promise<string>((resolve, reject) => {
      session.on('error', reject);
      session.request({ ':path': '/' }).on('data', (chunk) => resolve(String(chunk)));
    });
    session.close();
    expect([h1, h2]).toEqual(['1.1', '2.0']);
  });

  it('closes an HTTP/2 session that opens no stream', async () => {
    const port = await start();
    const session = connectHttp2(`https://127.0.0.1:${port}`, { ca: tls.cert });
    session.on('error', () => undefined);
    await new Promise<void>((resolve) => session.once('close', () => resolve()));
    expect(session.destroyed).toBe(true);
  });

  it('stops although an HTTP/2 client stays connected', async () => {
    const port = await start();
    const session = connectHttp2(`https://127.0.0.1:${port}`, { ca: tls.cert });
    await new Promise<void>((resolve) => session.once('connect', () => resolve()));
    session.on('error', () => undefined);
    await app?.close();
    app = null;
    session.destroy();
  });
});
