import { createNonceIssuer, type NonceIssuer } from '@kontext/oauth';
import type { Kms } from '@kontext/vault';
import type { FastifyInstance } from 'fastify';
import type { Config } from './config.ts';
import { registerActivate } from './http/activate.ts';
import { registerAuthorize } from './http/authorize.ts';
import { registerConfirm } from './http/confirm.ts';
import { registerHealth } from './http/health.ts';
import { registerLogin } from './http/login.ts';
import { registerMetadata } from './http/metadata.ts';
import { registerMetrics } from './http/metrics.ts';
import { addDeviceFlowRules, defaultIntervalSeconds } from './http/oauth/device-flow.ts';
import { addLoginRules } from './http/oauth/login-rules.ts';
import { mountOAuth } from './http/oauth/mount.ts';
import { createProvider, issuerOf } from './http/oauth/provider.ts';
import { addAccessTokenRevocation } from './http/oauth/revoke-access-token.ts';
import { registerTokenExchange, type TokenExchangeHandler } from './http/oauth/token-exchange-grant.ts';
import { createPageKit, type PageKit } from './http/page-kit.ts';
import { registerSecurityHeaders } from './http/security-headers.ts';
import { createServer } from './http/server.ts';
import { defaultVolumeLimits } from './limits.ts';
import type { Logger } from './log.ts';
import { createBrowserLogins } from './login/browser-logins.ts';
import { createBrowserSessions } from './login/browser-sessions.ts';
import { type Callers, createCallers } from './login/callers.ts';
import { type Confirmations, createConfirmations } from './login/confirmations.ts';
import { createDeviceApprovals } from './login/device-approvals.ts';
import type { Federation } from './login/federation/federation.ts';
import { loadActiveMember } from './login/local-accounts.ts';
import { createLocalLogins } from './login/local-login.ts';
import type { RecordLogin } from './login/login-events.ts';
import { createLogins, type Logins } from './login/logins.ts';
import { createLoopbackApprovals } from './login/loopback-approvals.ts';
import { createOidcAdapters, type OidcAdapters } from './login/oidc-adapter.ts';
import { createRateLimiter, type RateLimiter } from './login/rate-limiter.ts';
import { createRecordLogin } from './login/record-login.ts';
import { revokeAccessToken } from './login/revoke-access-token.ts';
import { loadServerKeys, rotateSigningKeys, type ServerKeys } from './login/server-keys.ts';
import { createVolumeLimiter, type VolumeLimiter } from './login/volume-limits.ts';
import { createMetrics, type Metrics } from './metrics/metrics.ts';
import { addStoreMetrics } from './metrics/store-metrics.ts';
import { type RpcRoutes, registerRpc } from './rpc/router.ts';
import { type BackgroundTask, startTasks } from './run-tasks.ts';
import type { Store } from './store/store.ts';

/** What the app is made from; all of it is open already, and closed by whoever opened it. */
export interface AppDeps {
  readonly config: Pick<Config, 'apiUrl' | 'local' | 'tls' | 'trustedProxies'> &
    Partial<Pick<Config, 'outboundHosts' | 'lostSessionMs' | 'limits' | 'exportMaxBytes' | 'metrics'>>;
  /** Migrated and maintained. */
  readonly store: Store;
  readonly kms: Kms;
  readonly logger: Logger;
  /** Everything beyond login: `wire` of `wiring.ts`; tests may leave it out. */
  readonly wire?: (parts: AppParts) => Wiring;
  /** Clock; default `Date.now`. */
  readonly nowMs?: () => number;
  /** Seconds between polls of the device flow; default 2. */
  readonly deviceIntervalSeconds?: number;
  /** How often a running stream looks whether its grant still lives; default 1,000 ms. */
  readonly livenessIntervalMs?: number;
}

/** What the rooms behind the edges are wired from. */
export interface AppParts {
  readonly apiUrl: string;
  readonly issuer: string;
  readonly local: boolean;
  /** Hosts the operator lists: the backend may call them wherever they are. */
  readonly outboundHosts: readonly string[];
  /** A session without heartbeat for so long is lost; undefined: the default. */
  readonly lostSessionMs: number | undefined;
  /** Of exports that an organisation keeps at a time; undefined: the default. */
  readonly exportMaxBytes: number | undefined;
  readonly store: Store;
  readonly kms: Kms;
  readonly logger: Logger;
  readonly nowMs: () => number;
  readonly keys: ServerKeys;
  readonly callers: Callers;
  readonly logins: Logins;
  readonly nonces: NonceIssuer;
  readonly limiter: RateLimiter;
  /** For server-rendered pages: browser session, login, CSRF. */
  readonly kit: PageKit;
  readonly recordLogin: RecordLogin;
  readonly confirmations: Confirmations;
  readonly volume: VolumeLimiter;
  readonly metrics: Metrics;
}

/** What the rooms give back. */
export interface Wiring {
  readonly services?: readonly RpcRoutes[];
  /** Registers pages or other routes; called once, before the app is ready. */
  readonly pages?: readonly ((app: FastifyInstance) => Promise<void>)[];
  readonly tokenExchange?: TokenExchangeHandler;
  /** Logins through identity providers of organisations; the login page offers them. */
  readonly federation?: Federation;
  /** Background work; each starts when the app listens and stops when it closes. */
  readonly tasks?: readonly BackgroundTask[];
}

const minuteMs = 60_000;
const hourMs = 3_600_000;

/**
 * Builds the whole app and listens to nothing.
 *
 * @throws KontextError `KX_VAULT_OPEN` when the stored keys do not open with this key-encryption key.
 */
export async function createApp(deps: AppDeps): Promise<FastifyInstance> {
  const { config, store, logger } = deps;
  const { parts, adapters } = await createParts(deps);
  const findMember = (userId: string) => loadActiveMember(store, userId);
  const wiring = deps.wire?.(parts) ?? {};
  const withTokenExchange = wiring.tokenExchange !== undefined;
  const provider = createProvider({
    ...{ ...parts, adapters, findMember, withTokenExchange },
    checkUpstream: wiring.federation?.check,
  });
  const intervalSeconds = deps.deviceIntervalSeconds ?? defaultIntervalSeconds;
  addDeviceFlowRules(provider, { ...parts, adapters, intervalSeconds });
  addLoginRules(provider, parts);
  addAccessTokenRevocation(provider, (token, clientId) => revokeAccessToken(parts, token, clientId));
  if (wiring.tokenExchange) registerTokenExchange(provider, wiring.tokenExchange, parts);

  const app = createServer({ logger, tls: config.tls, trustedProxies: config.trustedProxies });
  registerSecurityHeaders(app, config.apiUrl.startsWith('https:'));
  registerMetadata(app, parts);
  registerHealth(app, () => store.ping());
  addStoreMetrics(parts.metrics, store, parts.nowMs);
  registerMetrics(app, parts.metrics, config.metrics ?? { token: null, listen: null });
  await mountOAuth(app, provider, parts);
  const locals = config.local ? createLocalLogins(store, parts.limiter) : null;
  const { federation = null } = wiring;
  await registerLogin(app, { kit: parts.kit, locals, federation, local: config.local });
  const approvals = createDeviceApprovals(provider, adapters, parts);
  await registerActivate(app, { ...parts, approvals, findMember });
  const loopback = createLoopbackApprovals(provider, adapters, parts);
  await registerAuthorize(app, { ...parts, approvals: loopback, findMember });
  await registerConfirm(app, { ...parts, findMember });
  for (const register of wiring.pages ?? []) await register(app);
  const { livenessIntervalMs } = deps;
  await registerRpc(app, wiring.services ?? [], {
    ...parts,
    ...(livenessIntervalMs === undefined ? {} : { livenessIntervalMs }),
  });
  const maintenance = {
    name: 'maintenance',
    intervalMs: hourMs,
    run: () => store.maintain(new Date(parts.nowMs())),
  };
  const signingKeys = { name: 'signing keys', intervalMs: minuteMs, run: () => followSigningKeys(parts) };
  runTasks(app, [maintenance, signingKeys, ...(wiring.tasks ?? [])], parts);
  return app;
}

async function createParts(
  deps: AppDeps,
): Promise<{ readonly parts: AppParts; readonly adapters: OidcAdapters }> {
  const { config, store, kms, logger, nowMs = Date.now } = deps;
  const keys = await loadServerKeys(store, kms, nowMs);
  const sessions = createBrowserSessions(keys.derive('browser')[0], createBrowserLogins(store, nowMs), nowMs);
  const limiter = createRateLimiter(store, nowMs);
  const { apiUrl } = config;
  const confirmationKeys = keys.derive('confirmation');
  const parts: AppParts = {
    apiUrl,
    issuer: issuerOf(config.apiUrl),
    local: config.local,
    outboundHosts: config.outboundHosts ?? [],
    lostSessionMs: config.lostSessionMs,
    exportMaxBytes: config.exportMaxBytes,
    store,
    kms,
    logger,
    nowMs,
    keys,
    callers: createCallers(store, nowMs),
    logins: createLogins(store, nowMs),
    nonces: createNonceIssuer(keys.derive('dpop-nonce')[0]),
    limiter,
    kit: createPageKit(config.apiUrl, sessions, nowMs),
    recordLogin: createRecordLogin(store, logger, nowMs),
    metrics: createMetrics(nowMs),
    volume: createVolumeLimiter(config.limits ?? defaultVolumeLimits, nowMs),
    confirmations: createConfirmations({ store, apiUrl, keys: confirmationKeys, limiter, nowMs }),
  };
  return { parts, adapters: createOidcAdapters(store, keys.derive('user-code')[0], nowMs) };
}

/** Rotates them when they are old, and takes over what another replica or the command rotated. */
async function followSigningKeys({ store, kms, keys, nowMs }: AppParts): Promise<void> {
  await rotateSigningKeys(store, kms, nowMs(), true);
  await keys.reload();
}

function runTasks(app: FastifyInstance, tasks: readonly BackgroundTask[], parts: AppParts): void {
  const { metrics, nowMs } = parts;
  metrics.watchTasks(tasks);
  let stop: () => Promise<void> = async () => undefined;
  app.addHook('onListen', async () => {
    stop = startTasks(tasks, { logger: app.log, nowMs, onRun: metrics.taskRan });
  });
  app.addHook('onClose', () => stop());
}
