import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import { KontextError } from '@kontext/errors';
import type { FastifyInstance } from 'fastify';
import { type Metrics, metricsContentType } from '../metrics/metrics.ts';

/** Who may read the page. */
export interface MetricsSettings {
  /** Bearer token for `/metrics` on the main address; null: it is not there. */
  readonly token: string | null;
  /** Loopback address on which it is read without a token; null: none. */
  readonly listen: { readonly host: string; readonly port: number } | null;
}

/** Registers the page of metrics, and counts answers. */
export function registerMetrics(
  app: FastifyInstance,
  metrics: Metrics,
  { token, listen }: MetricsSettings,
): void {
  app.addHook('onResponse', async (_request, reply) => {
    metrics.count('kontext_http_requests_total', { class: `${Math.floor(reply.raw.statusCode / 100)}xx` });
  });
  if (token !== null) registerPage(app, metrics, token);
  if (listen !== null) serveBeside(app, metrics, listen);
}

function registerPage(app: FastifyInstance, metrics: Metrics, token: string): void {
  const expected = hash(`Bearer ${token}`);
  app.get('/metrics', async (request, reply) => {
    reply.header('cache-control', 'no-store');
    // Hashes have one length, so that comparing tells nothing of the token's.
    if (!timingSafeEqual(hash(request.headers.authorization ?? ''), expected)) {
      return reply.code(401).header('www-authenticate', 'Bearer').send({ error: 'unauthorized' });
    }
    return reply.type(metricsContentType).send(await metrics.render());
  });
}

const hash = (text: string): Buffer => createHash('sha256').update(text).digest();

/** A server of its own, as long as the app listens. */
function serveBeside(
  app: FastifyInstance,
  metrics: Metrics,
  { host, port }: { readonly host: string; readonly port: number },
): void {
  const server = createServer((request, response) => {
    response.setHeader('cache-control', 'no-store');
    if (request.url !== '/metrics' || request.method !== 'GET') {
      response.writeHead(404).end();
      return;
    }
    metrics.render().then(
      (page) => response.writeHead(200, { 'content-type': metricsContentType }).end(page),
      () => response.writeHead(500).end(),
    );
  });
  app.addHook('onListen', async () => {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, resolve);
    }).catch((cause: unknown) => {
      throw new KontextError('KX_CONFIG_INVALID', `cannot listen on ${host}:${port}`, {
        ...{ why: 'another process may listen there', hint: 'set KONTEXT_METRICS_LISTEN', cause },
      });
    });
  });
  app.addHook('onClose', async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
}
