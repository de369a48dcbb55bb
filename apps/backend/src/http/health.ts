import type { FastifyInstance } from 'fastify';

/**
 * Registers `/healthz` (the process answers) and `/readyz` (it can serve: database reachable, schema current).
 *
 * @param checkReady Throws, or rejects, when it cannot serve. Asked at most once per request, 3 s at most.
 */
export function registerHealth(app: FastifyInstance, checkReady: () => Promise<void>): void {
  app.get('/healthz', async (_request, reply) =>
    reply.header('cache-control', 'no-store').send({ status: 'ok' }),
  );
  app.get('/readyz', async (request, reply) => {
    reply.header('cache-control', 'no-store');
    try {
      await within(3000, checkReady());
      return reply.send({ status: 'ready' });
    } catch (err) {
      request.log.warn({ err }, 'not ready');
      return reply.code(503).send({ status: 'not ready' });
    }
  });
}

async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('readiness check took too long')), ms);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
