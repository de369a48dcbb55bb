import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import Provider, { type ClientMetadata, type Configuration } from 'oidc-provider';
import { sendJson } from '../upstream/faults.ts';
import { MemoryStorage } from '../upstream/memory-adapter.ts';
import { claimsOf, type IdentityAccount } from './accounts.ts';
import { createSigningKey, type JwtHeader, readClaims, type SigningKey, signJwt } from './sign-jwt.ts';

/** A client of the identity provider, that is: an organisation's backend. */
export interface IdentityClient {
  readonly clientId: string;
  readonly clientSecret?: string;
  readonly redirectUris: readonly string[];
  /** Default `client_secret_basic`. */
  readonly authMethod?: 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt' | 'none';
  /** Its keys, for `private_key_jwt`. */
  readonly jwks?: { readonly keys: readonly unknown[] };
  readonly backchannelLogoutUri?: string;
}

/**
 * How an endpoint misbehaves: `hang` never answers, `drip` sends a byte now and then, `huge` sends 10 MB, `html` is no JSON,
 * `500` is an error of the server.
 */
export type IdentityFault = 'none' | 'hang' | 'drip' | 'huge' | 'html' | '500';

/** Changes what the token endpoint says, before it is signed. */
export type ChangeIdToken = (claims: Record<string, unknown>) => {
  readonly claims: Record<string, unknown>;
  readonly header?: JwtHeader;
};

/** Options of {@link startIdentityProvider}. */
export interface IdentityProviderOptions {
  /** Speak https with this certificate. */
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer };
  /** Whether logins give a refresh token; default true. */
  readonly refreshTokens?: boolean;
  /** Where claims of scopes stand; default in the ID token. */
  readonly claimsIn?: 'id_token' | 'userinfo';
}

/** Somebody else's identity provider: a real OpenID provider on loopback, in this process. */
export interface IdentityProvider {
  /** Issuer, without trailing slash. */
  readonly issuer: string;
  /** How often its token endpoint was asked to refresh. */
  refreshes(): number;
  putAccount(account: IdentityAccount): void;
  /** Whoever sits at every browser from now on; null: they press cancel. */
  setCurrent(sub: string | null): void;
  /** Registers a client, or changes it. */
  putClient(client: IdentityClient): Promise<void>;
  /** Misbehave from now on. */
  setFault(fault: IdentityFault, on?: 'token' | 'discovery' | 'keys'): void;
  /** Changes ID tokens from now on; null: no more. */
  changeIdTokens(change: ChangeIdToken | null): void;
  /** Signs any token with the provider's key, for example a logout token. */
  signToken(claims: Readonly<Record<string, unknown>>, header?: JwtHeader): string;
  /** Ends a person's session and tells the client by back-channel logout, as the provider itself does it. */
  logOut(clientId: string, sub: string, sid?: string): Promise<void>;
  stop(): Promise<void>;
}

interface State {
  readonly accounts: Map<string, IdentityAccount>;
  readonly key: SigningKey;
  readonly storage: MemoryStorage;
  current: string | null;
  fault: { readonly mode: IdentityFault; readonly on: 'token' | 'discovery' | 'keys' };
  change: ChangeIdToken | null;
  refreshes: number;
}

/**
 * Starts somebody else's identity provider (`oidc-provider`) that approves by itself: scopes `openid email profile groups
 * offline_access`, `auth_time`, `sid`, rotating refresh tokens, back-channel logout.
 */
export async function startIdentityProvider(
  options: IdentityProviderOptions = {},
): Promise<IdentityProvider> {
  const server = options.tls ? createTlsServer(options.tls) : createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const issuer = `${options.tls ? 'https' : 'http'}://127.0.0.1:${port}`;
  const state: State = {
    accounts: new Map(),
    key: createSigningKey(),
    storage: new MemoryStorage(),
    current: null,
    fault: { mode: 'none', on: 'token' },
    change: null,
    refreshes: 0,
  };
  const provider = new Provider(issuer, configure(state, options));
  provider.on('grant.success', (ctx) => {
    if (ctx.oidc.params?.grant_type === 'refresh_token') state.refreshes += 1;
  });
  const callback = provider.callback();
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    route(state, provider, callback, request, response).catch((error: unknown) => {
      if (!response.headersSent)
        sendJson(response, 500, { error: 'server_error', error_description: String(error) });
    });
  });
  return describe(issuer, state, provider, server);
}

function describe(issuer: string, state: State, provider: Provider, server: Server): IdentityProvider {
  return {
    issuer,
    refreshes: () => state.refreshes,
    putAccount: (account) => void state.accounts.set(account.sub, account),
    setCurrent: (sub) => {
      state.current = sub;
    },
    putClient: (client) => state.storage.adapterFor('Client').upsert(client.clientId, toMetadata(client), 0),
    setFault: (mode, on = 'token') => {
      state.fault = { mode, on };
    },
    changeIdTokens: (change) => {
      state.change = change;
    },
    signToken: (claims, header) => signJwt(state.key, claims, header),
    logOut: async (clientId, sub, sid) => {
      const client = await provider.Client.find(clientId);
      // In the library, not in its types.
      const notify = client as unknown as { backchannelLogout(sub: string, sid?: string): Promise<void> };
      await notify.backchannelLogout(sub, sid);
    },
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function configure(
  state: State,
  { refreshTokens = true, claimsIn = 'id_token' }: IdentityProviderOptions,
): Configuration {
  class StorageAdapter {
    constructor(model: string) {
      Object.assign(this, state.storage.adapterFor(model));
    }
  }
  return {
    adapter: StorageAdapter as unknown as NonNullable<Configuration['adapter']>,
    cookies: { keys: [randomBytes(24).toString('hex')] },
    jwks: { keys: [{ ...state.key.jwk }] } as NonNullable<Configuration['jwks']>,
    enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
    claims: {
      openid: ['sub'],
      email: ['email', 'email_verified'],
      profile: ['name'],
      groups: ['groups'],
    },
    conformIdTokenClaims: claimsIn === 'userinfo',
    scopes: ['openid', 'offline_access'],
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
    features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true } },
    pkce: { required: () => true },
    // The library's own refuses loopback, where everything of a test is.
    fetch: (url, request) => fetch(url, withoutDispatcher(request)),
    rotateRefreshToken: true,
    issueRefreshToken: async () => refreshTokens,
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_ctx, sub) => {
      const account = state.accounts.get(sub);
      if (account === undefined || account.disabled === true) return undefined;
      return { accountId: sub, claims: async () => claimsOf(account) };
    },
    ttl: {
      AccessToken: 300,
      RefreshToken: 86_400,
      Grant: 86_400,
      Session: 3_600,
      Interaction: 600,
      IdToken: 300,
    },
  };
}

/** What the library would send it through refuses addresses of this machine. */
function withoutDispatcher(request: RequestInit | undefined): RequestInit {
  const { dispatcher: _, ...plain } = (request ?? {}) as RequestInit & { readonly dispatcher?: unknown };
  return plain;
}

function toMetadata(client: IdentityClient): ClientMetadata {
  const { clientId, clientSecret, redirectUris, authMethod = 'client_secret_basic', jwks } = client;
  return {
    client_id: clientId,
    ...(clientSecret === undefined ? {} : { client_secret: clientSecret }),
    redirect_uris: [...redirectUris],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: authMethod,
    id_token_signed_response_alg: 'ES256',
    scope: 'openid email profile groups offline_access',
    ...(jwks === undefined ? {} : { jwks: { keys: [...jwks.keys] } }),
    ...(client.backchannelLogoutUri === undefined
      ? {}
      : { backchannel_logout_uri: client.backchannelLogoutUri, backchannel_logout_session_required: true }),
  } as ClientMetadata;
}

type Callback = (request: IncomingMessage, response: ServerResponse) => Promise<void> | void;

async function route(
  state: State,
  provider: Provider,
  callback: Callback,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = (request.url ?? '').split('?')[0] ?? '';
  if (path.startsWith('/interaction/')) return approve(state, provider, request, response);
  const kind = { '/token': 'token', '/jwks': 'keys', '/.well-known/openid-configuration': 'discovery' }[path];
  if (kind !== undefined && kind === state.fault.on && misbehave(state.fault.mode, response)) return;
  if (path === '/token') changeAnswer(state, response);
  await callback(request, response);
}

/** @returns Whether the request is answered, or left hanging. */
function misbehave(mode: IdentityFault, response: ServerResponse): boolean {
  switch (mode) {
    case 'none':
      return false;
    case 'hang':
      return true;
    case '500':
      sendJson(response, 500, { error: 'server_error' });
      return true;
    case 'html':
      response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Welcome</h1>');
      return true;
    case 'huge':
      response.writeHead(200, { 'content-type': 'application/json' }).end(`"${'x'.repeat(10_000_000)}"`);
      return true;
    case 'drip': {
      response.writeHead(200, { 'content-type': 'application/json' });
      const timer = setInterval(() => response.write(' '), 200);
      response.on('close', () => clearInterval(timer));
      return true;
    }
  }
}

/** The library sends its whole body with one `end`: the one place to change it. */
function changeAnswer(state: State, response: ServerResponse): void {
  const end = response.end.bind(response);
  response.end = ((body?: string | Buffer) => {
    const answer = JSON.parse(String(body ?? '{}')) as Record<string, unknown>;
    if (typeof answer.id_token === 'string' && state.change !== null) {
      const changed = state.change(readClaims(answer.id_token));
      answer.id_token = signJwt(state.key, changed.claims, changed.header);
    }
    const text = JSON.stringify(answer);
    response.setHeader('content-length', Buffer.byteLength(text));
    end(text);
    return response;
  }) as ServerResponse['end'];
}

/** Says who sits there, and yes to whatever is asked. */
async function approve(
  state: State,
  provider: Provider,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  const account = state.accounts.get(state.current ?? '');
  if (account === undefined || account.disabled === true) {
    return provider.interactionFinished(request, response, { error: 'access_denied' });
  }
  if (prompt.name === 'login') {
    return provider.interactionFinished(request, response, { login: { accountId: account.sub } });
  }
  const accountId = session?.accountId ?? account.sub;
  const grant = new provider.Grant({ accountId, clientId: String(params.client_id) });
  grant.addOIDCScope('openid email profile groups offline_access');
  const consent = { consent: { grantId: await grant.save() } };
  return provider.interactionFinished(request, response, consent, { mergeWithLastSubmission: true });
}
