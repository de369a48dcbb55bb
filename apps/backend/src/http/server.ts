import { randomUUID } from 'node:crypto';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Http2SecureServer, ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import { KontextError } from '@kontext/errors';
import fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import type { Logger } from '../log.ts';

/** What the bare server is made from. */
export interface ServerOptions {
  readonly logger: Logger;
  /** Certificate and key: then one port speaks HTTP/2 and HTTP/1.1, chosen by ALPN. Null: HTTP/1.1 in clear. */
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | null;
  /** Proxies whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly string[];
  /** How long requests may still run at a stop; default 5,000 ms. Then their connections are closed. */
  readonly graceMs?: number;
}

/** Longest a client may take for its headers, and for its whole request. */
const headersTimeoutMs = 10_000;
const requestTimeoutMs = 30_000;
/** Without any traffic an HTTP/2 session ends after so long; watchers get a keep-alive more often. */
const sessionTimeoutMs = 5 * 60_000;
/** Node's HTTP/2 server has no header timeout: a session that opens no stream for so long is closed. */
const idleSessionMs = 10_000;
/** How long an HTTP/2 session may take to end at a stop. */
const lingerMs = 2000;
/** For whatever reads its body through Fastify; the RPCs and the authorization server have limits of their own. */
const maxBodyBytes = 64 * 1024;

/** Creates the bare server: limits, request log, error answers. It listens to nothing. */
export function createServer(options: ServerOptions): FastifyInstance {
  const common = {
    loggerInstance: options.logger as FastifyBaseLogger,
    // Ours below logs by allow-list; Fastify's own lines are off.
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    trustProxy: options.trustedProxies.length > 0 ? [...options.trustedProxies] : false,
    bodyLimit: maxBodyBytes,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: 65_000,
    routerOptions: { maxParamLength: 512 },
  };
  const app = options.tls
    ? (fastify({
        ...common,
        http2: true,
        http2SessionTimeout: sessionTimeoutMs,
        https: { allowHTTP1: true, ...options.tls },
      }) as unknown as FastifyInstance)
    : fastify(common);
  // Both kinds have the property; the types know it of one.
  (app.server as Server).headersTimeout = headersTimeoutMs;
  if (options.tls) closeIdleSessions(app);
  endConnectionsAtStop(app, options.graceMs ?? 5000);

  app.addHook('onRequest', async (request, reply) => closeAfterEarlyAnswer(request.raw, reply.raw));
  app.addHook('onResponse', async (request, reply) => {
    const { id, method, originalUrl, ip, headers } = request;
    // The route, where there is one: a path can hold the ticket of a connect link.
    const url = request.routeOptions.url ?? originalUrl;
    const ms = Math.round(reply.elapsedTime);
    const status = reply.raw.statusCode;
    request.log.info({ req: { id, method, url, ip, headers }, status, ms }, 'request');
  });
  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ error: 'not_found' }));
  app.setErrorHandler((err, request, reply) => {
    const status = err instanceof Error && 'statusCode' in err ? Number(err.statusCode) : 500;
    if (err instanceof KontextError) return reply.code(500).send({ error: err.code });
    if (status >= 400 && status < 500) return reply.code(status).send({ error: 'bad_request' });
    request.log.error({ err }, 'a request failed');
    return reply.code(500).send({ error: 'internal' });
  });
  return app;
}

/**
 * Closes the connection after an answer that was given before the body was read (too large, refused): some clients stop
 * sending then, and would reuse the connection in the middle of the old body.
 */
function closeAfterEarlyAnswer(request: IncomingMessage, response: ServerResponse): void {
  if (request.httpVersionMajor !== 1) return;
  const writeHead = response.writeHead.bind(response) as (...args: unknown[]) => ServerResponse;
  response.writeHead = ((...args: unknown[]) => {
    if (!request.complete) response.setHeader('connection', 'close');
    return writeHead(...args);
  }) as ServerResponse['writeHead'];
}

/** A client that sends its request byte by byte must not keep a stopping process from closing its database. */
function endConnectionsAtStop(app: FastifyInstance, graceMs: number): void {
  const sockets = new Set<Socket>();
  app.server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  app.addHook('preClose', async () => {
    setTimeout(() => {
      for (const socket of sockets) socket.destroy();
    }, graceMs).unref();
  });
}

function closeIdleSessions(app: FastifyInstance): void {
  const server = app.server as unknown as Http2SecureServer;
  const sessions = new Set<ServerHttp2Session>();
  let closing = false;
  server.on('session', (session) => {
    if (closing) return session.destroy();
    sessions.add(session);
    const timer = setTimeout(() => session.destroy(), idleSessionMs);
    timer.unref();
    session.once('stream', () => clearTimeout(timer));
    session.on('error', () => undefined);
    session.once('close', () => {
      clearTimeout(timer);
      sessions.delete(session);
    });
  });
  app.addHook('preClose', async () => {
    closing = true;
    for (const session of sessions) {
      session.close();
      // A client that holds its end open must not hold the process.
      setTimeout(() => session.destroy(), lingerMs).unref();
    }
  });
}
