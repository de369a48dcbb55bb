import { randomBytes } from 'node:crypto';
import { findFreePort } from '@kontext/testkit';
import { createLocalKms } from '@kontext/vault';
import type { FastifyInstance } from 'fastify';
import { type AppDeps, createApp } from './app.ts';
import { createLogger } from './log.ts';
import { createDefaultOrg, type NewLocalAccount } from './login/local-accounts.ts';
import type { Store } from './store/store.ts';

/** A listening app with a person who can log in. */
export interface TestApp {
  readonly app: FastifyInstance;
  readonly apiUrl: string;
  readonly owner: NewLocalAccount;
  /** Moves the app's clock; it starts at the real time. */
  advance(ms: number): void;
  close(): Promise<void>;
}

/** Starts the real app on a free loopback port; the organisation `default` is made when the store has none. */
export async function startTestApp(
  store: Store,
  deps: Partial<AppDeps> & { readonly owner?: NewLocalAccount; readonly port?: number } = {},
): Promise<TestApp> {
  const port = deps.port ?? (await findFreePort());
  const apiUrl = deps.config?.apiUrl ?? `http://127.0.0.1:${port}`;
  let offsetMs = 0;
  const nowMs = () => Date.now() + offsetMs;
  const kms = deps.kms ?? createLocalKms(new Map([['kek-test', randomBytes(32)]]), 'kek-test');
  const owner = deps.owner ?? (await createDefaultOrg(store, kms, nowMs()));
  if (!owner) throw new Error('the store has an organisation already: pass its owner');
  const config = { apiUrl, local: true, tls: null, trustedProxies: [] };
  const app = await createApp({
    config,
    store,
    kms,
    logger: createLogger('silent'),
    nowMs,
    deviceIntervalSeconds: 1,
    ...deps,
  });
  await app.listen({ host: '127.0.0.1', port });
  const advance = (ms: number): void => {
    offsetMs += ms;
  };
  return { app, apiUrl, owner, advance, close: () => app.close() };
}
