import { createConnectTransport } from '@connectrpc/connect-node';
import type { Config } from '../config.ts';
import { createLog } from '../log.ts';
import { createAccessTokens } from '../login/access-tokens.ts';
import { loadLogin } from '../login/load-login.ts';
import type { Login } from '../login/login-item.ts';
import { openSecretStore } from '../login/open-secret-store.ts';
import type { SecretStore } from '../login/secret-store.ts';
import type { Terminal } from '../terminal.ts';
import { type Clients, createClients } from './clients.ts';
import { createDpopInterceptor } from './dpop-interceptor.ts';
import { createBackendAgent } from './http-agent.ts';
import { createLogInterceptor } from './log-interceptor.ts';
import { rpcError, type ServerClock } from './rpc-error.ts';

/** The backend as the logged-in developer sees it. */
export interface Backend {
  readonly clients: Clients;
  readonly login: Login;
  readonly store: SecretStore;
  readonly clock: Readonly<ServerClock>;
  /** Closes idle connections. */
  close(): void;
}

/** What a backend is opened with. */
export interface OpenBackendOptions {
  readonly config: Config;
  readonly terminal: Terminal;
  /** A login at hand already; else it is loaded from its store. */
  readonly fresh?: FreshLogin;
}

/** A login at hand, with an access token when it was just made. */
export interface FreshLogin {
  readonly login: Login;
  readonly store: SecretStore;
  readonly first?: NonNullable<Parameters<typeof createAccessTokens>[0]['first']>;
}

/** Default 30 s for a call; sensible 5 s to 120 s. Resolving may wait for a provider. */
const callTimeoutMs = 30_000;

/**
 * Loads the login and makes the clients; no request is sent before the first call.
 *
 * @throws KontextError `KX_NOT_LOGGED_IN`, `KX_KEYRING_UNAVAILABLE`, `KX_KEYRING_ITEM_INVALID`.
 */
export async function openBackend(options: OpenBackendOptions): Promise<Backend> {
  const { config, terminal, fresh } = options;
  const store = fresh?.store ?? openSecretStore(config, terminal);
  const login = fresh?.login ?? (await loadLogin(config, store));
  const { agent, close } = createBackendAgent(config.apiUrl);
  const tokens = createAccessTokens({
    config,
    login,
    store,
    agent,
    ...(fresh?.first ? { first: fresh.first } : {}),
  });
  const clock: ServerClock = { skewMs: null };
  const transport = createConnectTransport({
    baseUrl: config.apiUrl,
    httpVersion: '1.1',
    useBinaryFormat: true,
    defaultTimeoutMs: callTimeoutMs,
    nodeOptions: { agent },
    interceptors: [createDpopInterceptor({ tokens, clock }), createLogInterceptor(createLog(config.logFile))],
  });
  return {
    clients: createClients(transport, (error) => rpcError(error, config.apiUrl, clock)),
    get login() {
      return tokens.login;
    },
    store,
    clock,
    close,
  };
}
