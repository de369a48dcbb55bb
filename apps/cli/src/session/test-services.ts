import { Code, type ConnectRouter } from '@connectrpc/connect';
import {
  ConnectionService,
  ConnectionState,
  CredentialKind,
  CredentialService,
  Delivery,
  Mode,
  ProviderKind,
  ProviderService,
  SessionService,
  SessionState,
} from '@kontext/protocol';
import { wireError } from '../rpc/test-backend.ts';

/** What the services of a test backend know and what was done to them. */
export interface TestServices {
  /** Provider → value; what is here resolves. */
  readonly secrets: Map<string, { readonly value: string; readonly kind: 'oauth' | 'static' }>;
  /** Providers that exist; with no secret they answer `KX_CONNECTION_MISSING`. */
  readonly providers: Set<string>;
  /** Sessions opened, and the exit code each ended with. */
  readonly sessions: Map<string, number | null>;
  readonly resolves: { readonly sessionId: string; readonly dryRun: boolean; readonly count: number }[];
  readonly puts: {
    readonly provider: string;
    readonly name: string;
    readonly value: string;
    readonly shared: boolean;
  }[];
  readonly added: {
    readonly name: string;
    readonly clientSecret: string;
    readonly [member: string]: unknown;
  }[];
  /** Agents attached (`+`) and detached (`-`). */
  readonly attached: string[];
  readonly revoked: string[];
  /** Connections begun: what for. */
  readonly begun: {
    readonly provider: string;
    readonly name: string;
    readonly scopes: readonly string[];
    readonly addScopes: boolean;
    readonly shared: boolean;
  }[];
  /** A scope no connection has: asking for it answers `KX_SCOPE_EXCEEDED` until something was begun. */
  missingScope: string;
  /** The code beginning a connection answers with; empty: it works. */
  refusesToBegin: '' | 'KX_CONNECT_FAILED';
  heartbeats: number;
  /** Providers a person is about to connect: the second look finds them connected. */
  connectsItself: boolean;
  readonly routes: (router: ConnectRouter) => void;
}

/** Makes services with two providers: `github` (oauth) and `stripe` (static). */
export function createTestServices(): TestServices {
  const state: TestServices = {
    secrets: new Map([
      ['github', { value: 'github-token-value', kind: 'oauth' }],
      ['stripe', { value: 'stripe-key-value', kind: 'static' }],
    ]),
    providers: new Set(['github', 'stripe', 'linear', 'acme']),
    sessions: new Map(),
    resolves: [],
    puts: [],
    added: [],
    attached: [],
    revoked: [],
    begun: [],
    missingScope: '',
    refusesToBegin: '',
    heartbeats: 0,
    connectsItself: false,
    routes: (router) => {
      serveSessions(router, state);
      serveCredentials(router, state);
      serveConnections(router, state);
      serveProviders(router, state);
    },
  };
  return state;
}

function resolveOne(
  state: TestServices,
  placeholder: { readonly provider: string; readonly delivery: Delivery; readonly scopes: readonly string[] },
  dryRun: boolean,
) {
  const { provider } = placeholder;
  const error = (code: string, message: string, connectUri = '') => ({
    outcome: { case: 'error' as const, value: { code, connectUri } },
    errorMessage: message,
  });
  if (placeholder.delivery === Delivery.BROKER)
    return error('KX_DELIVERY_UNSUPPORTED', 'broker is not built yet');
  if (!state.providers.has(provider)) return error('KX_PROVIDER_UNKNOWN', `there is no provider ${provider}`);
  const secret = state.secrets.get(provider);
  if (!secret)
    return error(
      'KX_CONNECTION_MISSING',
      `${provider} is not connected`,
      `https://kontext.example/${provider}`,
    );
  if (placeholder.scopes.includes(state.missingScope) && state.begun.length === 0)
    return error('KX_SCOPE_EXCEEDED', 'the scope is beyond what may be had');
  const isOauth = secret.kind === 'oauth';
  return {
    outcome: {
      case: 'credential' as const,
      value: {
        value: dryRun ? '' : secret.value,
        kind: isOauth ? CredentialKind.OAUTH : CredentialKind.STATIC,
        leaseId: `lea_${provider}`,
        connectionName: 'default',
        scopes: [...placeholder.scopes],
        ...(isOauth && !dryRun ? { expiresAt: { seconds: 4_102_444_800n, nanos: 0 } } : {}),
      },
    },
  };
}

function serveSessions(router: ConnectRouter, state: TestServices): void {
  router.service(SessionService, {
    openSession: ({ agent, mode }) => {
      const id = `ses_${state.sessions.size + 1}`;
      state.sessions.set(id, null);
      return {
        session: {
          id,
          agent,
          userId: 'usr_1',
          userName: 'usr_1@example.com',
          orgId: 'org_1',
          mode: mode === Mode.ENFORCE ? Mode.ENFORCE : Mode.OBSERVE,
          state: SessionState.LIVE,
          policyVersion: 3n,
        },
        clientStreamId: 'str_c',
        clientStreamNonce: new Uint8Array(32),
        serverStreamId: 'str_s',
        serverEventHash: new Uint8Array(32).fill(1),
        orgName: 'Example',
        heartbeatSeconds: 1,
      };
    },
    heartbeatSession: () => {
      state.heartbeats += 1;
      return { state: SessionState.LIVE, policyVersion: 4n };
    },
    endSession: ({ sessionId, exitCode }) => {
      state.sessions.set(sessionId, exitCode);
      return { leasesEnded: 1 };
    },
  });
}

function serveCredentials(router: ConnectRouter, state: TestServices): void {
  router.service(CredentialService, {
    resolveCredentials: ({ sessionId, placeholders, dryRun }) => {
      state.resolves.push({ sessionId, dryRun, count: placeholders.length });
      return {
        results: placeholders.map((p) => resolveOne(state, p, dryRun)),
        serverEventHash: new Uint8Array(32).fill(2),
      };
    },
  });
}

function serveConnections(router: ConnectRouter, state: TestServices): void {
  const begun = new Map<string, { provider: string; looks: number }>();
  router.service(ConnectionService, {
    beginConnection: ({ provider, name, scopes, addScopes, shared }) => {
      state.begun.push({ provider, name, scopes, addScopes, shared });
      if (state.refusesToBegin !== '')
        throw wireError(state.refusesToBegin, 'the provider was not connected');
      if (!state.providers.has(provider)) throw wireError('KX_PROVIDER_UNKNOWN', `no provider ${provider}`);
      const connectionId = `con_${begun.size + 1}`;
      begun.set(connectionId, { provider, looks: 0 });
      return {
        connectionId,
        connectUri: `https://kontext.example/connect/${connectionId}`,
        expiresIn: 600,
      };
    },
    getConnection: ({ connectionId }) => {
      const connection = begun.get(connectionId);
      if (connectionId === 'con_a') return { connection: githubConnection };
      if (!connection) throw wireError('KX_CONNECTION_NOT_FOUND', 'no such connection', {}, Code.NotFound);
      connection.looks += 1;
      const isConnected = state.connectsItself && connection.looks > 1;
      if (isConnected)
        state.secrets.set(connection.provider, { value: `${connection.provider}-value`, kind: 'oauth' });
      return {
        connection: {
          id: connectionId,
          provider: connection.provider,
          state: isConnected ? ConnectionState.CONNECTED : ConnectionState.PENDING,
          ...(isConnected ? { connectedAt: { seconds: 1n, nanos: 0 } } : {}),
        },
      };
    },
    listConnections: () => ({ connections: [githubConnection] }),
    testConnection: ({ connectionId }) => {
      const works = connectionId === 'con_a';
      return works
        ? { works, message: 'it answered', scopes: ['repo'], account: 'octocat' }
        : { works, message: 'it wants the user to log in again' };
    },
    revokeConnection: ({ connectionId }) => {
      state.revoked.push(connectionId);
      return { revokedAtProvider: false, message: 'it has no revocation endpoint' };
    },
    putSecret: ({ provider, name, value, shared }) => {
      state.puts.push({ provider, name, value, shared });
      return { connection: { id: 'con_b', provider, name: name || 'default' } };
    },
  });
}

const githubConnection = {
  id: 'con_a',
  provider: 'github',
  name: 'default',
  state: ConnectionState.CONNECTED,
  scopes: ['repo'],
};

const entries = [
  {
    catalogueId: 'github',
    title: 'GitHub',
    kind: ProviderKind.OAUTH2,
    variables: ['GITHUB_TOKEN', 'GH_TOKEN'],
  },
  { catalogueId: 'stripe', title: 'Stripe', kind: ProviderKind.STATIC, variables: ['STRIPE_API_KEY'] },
  { catalogueId: 'postgres', title: 'PostgreSQL', kind: ProviderKind.POSTGRES, variables: ['DATABASE_URL'] },
  { catalogueId: 'aws', title: 'AWS', kind: ProviderKind.AWS_STS, variables: [] },
];

function serveProviders(router: ConnectRouter, state: TestServices): void {
  router.service(ProviderService, {
    addProvider: ({ provider, clientSecret }) => {
      state.added.push({ ...provider, name: provider?.name ?? '', clientSecret });
      const { variables = [] } =
        entries.find(({ catalogueId }) => catalogueId === provider?.catalogueId) ?? {};
      const callbackUrl = 'https://kontext.example/connect/callback';
      return { provider: { ...provider, variables, callbackUrl } as never };
    },
    listProviders: () => ({ providers: [{ name: 'github', clientId: 'id', scopes: ['repo'] }] }),
    listCatalogue: () => ({ entries }),
    attachProvider: ({ provider, agent, scopes }) => {
      state.attached.push(`+${provider} ${agent} ${scopes.join(' ')}`);
      return {};
    },
    detachProvider: ({ provider, agent }) => {
      state.attached.push(`-${provider} ${agent}`);
      return { leasesEnded: 2 };
    },
    removeProvider: ({ force }) => {
      if (!force) throw wireError('KX_PROVIDER_IN_USE', 'github still has 1 connection');
      return { revokedAtProvider: 3, message: 'one is left' };
    },
  });
}
