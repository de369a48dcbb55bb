import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import Provider, { type ClientMetadata, type Configuration } from 'oidc-provider';
import { applyFault, type Fault, sendJson } from './faults.ts';
import { MemoryStorage } from './memory-adapter.ts';

/** What the upstream is told at its start. */
export interface UpstreamOptions {
  /** 0 or absent: any free port. */
  readonly port?: number;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly redirectUris: readonly string[];
  /** Life of an access token, in seconds; default 300. */
  readonly accessTokenTtlSeconds?: number;
  /** Who approves, that is: `sub` of the account; default `upstream-user`. */
  readonly account?: string;
  /** Default `client_secret_basic`. */
  readonly tokenEndpointAuthMethod?: 'client_secret_basic' | 'client_secret_post';
}

/** How often the upstream was asked, since its start. */
export interface UpstreamStats {
  tokenRequests: number;
  codeExchanges: number;
  refreshes: number;
  refusedTokenRequests: number;
  revocations: number;
  apiCalls: number;
}

interface State {
  readonly options: UpstreamOptions;
  readonly storage: MemoryStorage;
  readonly stats: UpstreamStats;
  readonly provider: Provider;
  fault: Fault;
  account: string;
  accessTokenTtlSeconds: number;
  /** Token requests run one after the other: only then is a refresh token truly single-use. */
  tokenQueue: Promise<void>;
}

const noFault: Fault = { mode: 'none', on: 'all', remaining: 0 };

/**
 * Starts the stand-in upstream provider in this process: a real OAuth server that approves everything by itself.
 *
 * @returns its server, already listening on 127.0.0.1, and its URL.
 */
export async function listenUpstream(options: UpstreamOptions): Promise<{ server: Server; url: string }> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.on('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const state = await createState(url, options);
  const callback = state.provider.callback();
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    route(state, callback, request, response).catch((error: unknown) => {
      if (!response.headersSent)
        sendJson(response, 500, { error: 'server_error', error_description: String(error) });
    });
  });
  return { server, url };
}

async function createState(url: string, options: UpstreamOptions): Promise<State> {
  const storage = new MemoryStorage();
  const partial = {
    options,
    storage,
    stats: {
      tokenRequests: 0,
      codeExchanges: 0,
      refreshes: 0,
      refusedTokenRequests: 0,
      revocations: 0,
      apiCalls: 0,
    },
    fault: noFault,
    account: options.account ?? 'upstream-user',
    accessTokenTtlSeconds: options.accessTokenTtlSeconds ?? 300,
    tokenQueue: Promise.resolve(),
  };
  const provider: Provider = new Provider(
    url,
    configure(storage, () => state.accessTokenTtlSeconds),
  );
  const state: State = { ...partial, provider };
  await registerClient(state, options.redirectUris);
  provider.on('grant.success', (ctx) => {
    if (ctx.oidc.params?.grant_type === 'refresh_token') state.stats.refreshes += 1;
    else state.stats.codeExchanges += 1;
  });
  provider.on('grant.error', () => {
    state.stats.refusedTokenRequests += 1;
  });
  return state;
}

function configure(storage: MemoryStorage, accessTokenTtlSeconds: () => number): Configuration {
  class StorageAdapter {
    constructor(model: string) {
      Object.assign(this, storage.adapterFor(model));
    }
  }
  return {
    adapter: StorageAdapter as unknown as NonNullable<Configuration['adapter']>,
    cookies: { keys: [randomBytes(24).toString('hex')] },
    features: { devInteractions: { enabled: false }, revocation: { enabled: true } },
    scopes: ['openid', 'offline_access', 'read', 'write', 'admin'],
    pkce: { required: () => false },
    rotateRefreshToken: true,
    issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_ctx, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
    ttl: {
      AccessToken: accessTokenTtlSeconds,
      RefreshToken: 86_400,
      Grant: 86_400,
      Session: 3_600,
      Interaction: 600,
    },
  };
}

async function registerClient(state: State, redirectUris: readonly string[]): Promise<void> {
  const { clientId, clientSecret, tokenEndpointAuthMethod = 'client_secret_basic' } = state.options;
  const client: ClientMetadata = {
    client_id: clientId,
    client_secret: clientSecret,
    redirect_uris: [...redirectUris],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: tokenEndpointAuthMethod,
  };
  await state.storage.adapterFor('Client').upsert(clientId, client, 0);
}

type Callback = (request: IncomingMessage, response: ServerResponse) => Promise<void> | void;

async function route(
  state: State,
  callback: Callback,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = (request.url ?? '').split('?')[0] ?? '';
  if (path.startsWith('/control/')) return control(state, path, request, response);
  if (path.startsWith('/interaction/')) return approve(state, request, response);
  if (path === '/api/me') return answerMe(state, request, response);
  if (path === '/token') return answerToken(state, callback, request, response);
  if (path === '/token/revocation') state.stats.revocations += 1;
  if (meetsFault(state, 'other', response)) return;
  await callback(request, response);
}

function meetsFault(state: State, kind: 'token' | 'api' | 'other', response: ServerResponse): boolean {
  const { fault } = state;
  if (fault.mode === 'none' || (fault.on !== 'all' && fault.on !== kind)) return false;
  fault.remaining -= 1;
  if (fault.remaining <= 0) state.fault = noFault;
  return applyFault(fault.mode, response);
}

async function answerToken(
  state: State,
  callback: Callback,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  state.stats.tokenRequests += 1;
  if (meetsFault(state, 'token', response)) return;
  const turn = state.tokenQueue.then(() => callback(request, response));
  state.tokenQueue = Promise.resolve(turn).catch(() => undefined);
  await turn;
}

async function answerMe(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  state.stats.apiCalls += 1;
  if (meetsFault(state, 'api', response)) return;
  const value = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
  const token = value === '' ? undefined : await state.provider.AccessToken.find(value);
  if (token === undefined || token.isExpired) {
    response.setHeader('www-authenticate', 'Bearer error="invalid_token"');
    sendJson(response, 401, { error: 'invalid_token' });
  } else {
    sendJson(response, 200, { sub: token.accountId, scope: token.scope ?? '', client_id: token.clientId });
  }
}

/** Says yes to whatever the provider asks: who are you, and do you agree. */
async function approve(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { provider } = state;
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  if (prompt.name === 'login') {
    return provider.interactionFinished(request, response, { login: { accountId: state.account } });
  }
  const grant = new provider.Grant({
    accountId: session?.accountId ?? state.account,
    clientId: String(params.client_id),
  });
  grant.addOIDCScope(String(params.scope ?? ''));
  const grantId = await grant.save();
  return provider.interactionFinished(
    request,
    response,
    { consent: { grantId } },
    { mergeWithLastSubmission: true },
  );
}

async function control(
  state: State,
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = JSON.parse(Buffer.concat(chunks).toString('utf8') || '{}') as Record<string, unknown>;
  switch (path) {
    case '/control/fault':
      state.fault = { ...noFault, remaining: Number.POSITIVE_INFINITY, on: 'token', ...body } as Fault;
      break;
    case '/control/revoke-all':
      state.storage.revokeAll();
      break;
    case '/control/client':
      await registerClient(state, body.redirectUris as string[]);
      break;
    case '/control/settings':
      Object.assign(state, body);
      break;
    case '/control/state':
      break;
    default:
      sendJson(response, 404, { error: 'not_found' });
      return;
  }
  sendJson(response, 200, { stats: state.stats, issued: state.storage.issued });
}
