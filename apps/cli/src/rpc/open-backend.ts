import type { Config } from '../config.ts';
import { createLog } from '../log.ts';
import { createAccessTokens } from '../login/access-tokens.ts';
import { loadLogin } from '../login/load-login.ts';
import type { Login } from '../login/login-item.ts';
import { openSecretStore } from '../login/open-secret-store.ts';
import type { SecretStore } from '../login/secret-store.ts';
import type { Terminal } from '../terminal.ts';
import { createCallSigner } from './call-signer.ts';
import { type Calls, createCalls } from './calls.ts';
import type { Clients } from './clients.ts';
import { createBackendAgent } from './http-agent.ts';
import type { ServerClock } from './server-clock.ts';

/** The backend as the logged-in developer sees it. */
export interface Backend {
  /** What a session needs, at once. */
  readonly calls: Calls;
  /** Everything; loads Connect at the first time. */
  connect(): Promise<Clients>;
  /**
   * Gets an access token now, not with the first call.
   *
   * @throws KontextError as the first call would, such as `KX_LOGIN_EXPIRED`.
   */
  authenticate(): Promise<void>;
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

/**
 * Loads the login and makes the calls; no request is sent before the first call.
 *
 * @throws KontextError `KX_NOT_LOGGED_IN`, `KX_KEYRING_UNAVAILABLE`, `KX_KEYRING_ITEM_INVALID`.
 */
export async function openBackend(options: OpenBackendOptions): Promise<Backend> {
  const { config, terminal, fresh } = options;
  const { apiUrl } = config;
  const store = fresh?.store ?? openSecretStore(config, terminal);
  const login = fresh?.login ?? (await loadLogin(config, store));
  const { agent, close } = await createBackendAgent(apiUrl);
  const first = fresh?.first ? { first: fresh.first } : {};
  const tokens = createAccessTokens({ config, login, store, agent, ...first });
  const clock: ServerClock = { skewMs: null };
  const signer = createCallSigner({ tokens, clock });
  const parts = { apiUrl, agent, signer, clock, log: createLog(config.logFile) };
  let clients: Promise<Clients> | undefined;
  return {
    calls: createCalls(parts),
    connect() {
      clients ??= import('./connect-clients.ts').then(({ connectClients }) =>
        connectClients(parts, { config, terminal }),
      );
      return clients;
    },
    async authenticate() {
      await tokens.get();
    },
    get login() {
      return tokens.login;
    },
    store,
    clock,
    close,
  };
}

/**
 * Loads the login, hands the generated clients to some work, and closes what they used in every case.
 *
 * @returns What the work returns. @throws what {@link openBackend} and the work throw.
 */
export async function withClients<T>(
  options: OpenBackendOptions,
  work: (clients: Clients) => Promise<T>,
): Promise<T> {
  const backend = await openBackend(options);
  try {
    return await work(await backend.connect());
  } finally {
    backend.close();
  }
}
