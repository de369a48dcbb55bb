import { KontextError } from '@kontext/errors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Provider } from 'oidc-provider';
import { deviceRequests, type RateLimiter } from '../../login/rate-limiter.ts';
import type { VolumeLimiter } from '../../login/volume-limits.ts';

/** Routes of the authorization server that are reachable. Its own device pages are not among them: ours replace them. */
const routes: ReadonlyMap<string, readonly string[]> = new Map([
  ['/.well-known/openid-configuration', ['GET', 'HEAD']],
  ['/.well-known/oauth-authorization-server', ['GET', 'HEAD']],
  ['/jwks', ['GET', 'HEAD']],
  ['/request', ['POST']],
  ['/auth', ['GET']],
  ['/auth/:uid', ['GET']],
  ['/device/auth', ['POST']],
  ['/token', ['POST']],
  ['/token/revocation', ['POST']],
]);

/**
 * Mounts the authorization server under `/oauth`, and its metadata also at the place RFC 8414 §3.1 names for an issuer
 * with a path.
 *
 * The reply is hijacked: the library reads the body and writes the answer itself. Scheme, host and address it sees are
 * ours, whatever the request claims.
 */
export async function mountOAuth(
  app: FastifyInstance,
  provider: Provider,
  options: {
    readonly apiUrl: string;
    readonly limiter: RateLimiter;
    readonly volume: Pick<VolumeLimiter, 'countTokenRequest'>;
  },
): Promise<void> {
  const { protocol, host } = new URL(options.apiUrl);
  const handle = provider.callback();

  const pass = (request: FastifyRequest, reply: FastifyReply, path: string): void => {
    const { raw } = request;
    raw.headers['x-forwarded-proto'] = protocol.slice(0, -1);
    raw.headers['x-forwarded-host'] = host;
    raw.headers['x-forwarded-for'] = request.ip;
    // The library looks for a body as HTTP/1.1 announces it (RFC 9112 §6.3); an HTTP/2 client need not.
    if (raw.method === 'POST' && raw.headers['content-length'] === undefined) {
      raw.headers['transfer-encoding'] = 'chunked';
    }
    // Every login begins anew: whoever logged in with this browser before says nothing about who sits there now.
    if (path === '/auth') raw.headers.cookie = '';
    const query = request.url.indexOf('?');
    const search = query === -1 ? '' : request.url.slice(query);
    // The library finds its mount path by comparing the two: the original must end with the stripped one.
    Object.assign(raw, { originalUrl: `/oauth${path}${search}`, url: `${path}${search}` });
    reply.hijack();
    void handle(raw as never, reply.raw as never);
  };

  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
    scope.get('/.well-known/oauth-authorization-server/oauth', (request, reply) =>
      pass(request, reply, '/.well-known/oauth-authorization-server'),
    );
    for (const [path, methods] of routes) {
      scope.route({
        method: [...methods],
        url: `/oauth${path}`,
        exposeHeadRoute: false,
        handler: async (request, reply) => {
          if (path === '/token' && (await refuseVolume(request, reply, options.volume))) return reply;
          if (path === '/device/auth' && (await refuseFlood(request, reply, options.limiter))) return reply;
          // The path as asked for, without the query: it may hold an id.
          pass(request, reply, request.url.replace(/\?.*$/s, '').slice('/oauth'.length));
          return reply;
        },
      });
    }
  });
}

/** One address may not keep the token endpoint busy for everybody. */
async function refuseVolume(
  request: FastifyRequest,
  reply: FastifyReply,
  volume: Pick<VolumeLimiter, 'countTokenRequest'>,
): Promise<boolean> {
  try {
    volume.countTokenRequest(request.ip);
    return false;
  } catch (error) {
    if (!(error instanceof KontextError)) throw error;
    await reply
      .code(429)
      .header('retry-after', error.details.retry_after_seconds)
      .header('cache-control', 'no-store')
      .send({ error: 'temporarily_unavailable', error_description: error.message });
    return true;
  }
}

/** Device codes are rows: one address may make 60 a minute. Answers as RFC 6749 §5.2, and says so. */
async function refuseFlood(
  request: FastifyRequest,
  reply: FastifyReply,
  limiter: RateLimiter,
): Promise<boolean> {
  const verdict = await limiter.count(deviceRequests, request.ip);
  if (verdict.allowed) return false;
  await reply
    .code(429)
    .header('retry-after', verdict.retryAfterSeconds)
    .header('cache-control', 'no-store')
    .send({ error: 'temporarily_unavailable', error_description: 'too many device authorization requests' });
  return true;
}
