/**
 * Somebody else's authorization server that exchanges tokens (RFC 8693): the `oidc-provider` library with that grant added. It
 * believes JWTs signed by keys it is told, and opaque tokens it is told, and issues opaque tokens that can be revoked (RFC 7009).
 */
import { createPublicKey, type JsonWebKey, verify } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import Provider, { type ClientMetadata, type Configuration, errors } from 'oidc-provider';
import { MemoryStorage } from '../upstream/memory-adapter.ts';

const grantType = 'urn:ietf:params:oauth:grant-type:token-exchange';
const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token';

/** What was asked for, of the exchanges that succeeded. */
export interface HeardExchange {
  readonly clientId: string;
  readonly subject: string;
  readonly subjectTokenType: string;
  /** Claims of a JWT; null for an opaque token. */
  readonly claims: Readonly<Record<string, unknown>> | null;
  readonly audience: readonly string[];
  readonly resource: readonly string[];
  readonly scope: string;
}

/** See the top of this file. */
export interface TokenExchangeServer {
  readonly issuer: string;
  readonly tokenEndpoint: string;
  readonly revocationEndpoint: string;
  /** Issuer and keys whose JWTs are believed. */
  trust: { issuer: string; keys: readonly JsonWebKey[] };
  /** Opaque tokens that are believed, with whom they stand for. */
  readonly opaque: Map<string, string>;
  readonly exchanges: readonly HeardExchange[];
  /** Members added to every answer of an exchange; undefined ones are taken away. */
  answer: Record<string, unknown>;
  /** Status of the token endpoint in place of an answer; 0: none. */
  failWith: number;
  /** Whether an access token lives. */
  isLive(token: string): Promise<boolean>;
  close(): Promise<void>;
}

/** Starts it on loopback. @param clients How `oidc-provider` describes clients; the grant type is added. */
export async function startTokenExchangeServer(
  clients: readonly ClientMetadata[],
): Promise<TokenExchangeServer> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const exchanges: HeardExchange[] = [];
  const provider = new Provider(issuer, configure(clients));
  const state: TokenExchangeServer = {
    ...{ issuer, tokenEndpoint: `${issuer}/token`, revocationEndpoint: `${issuer}/token/revocation` },
    ...{ trust: { issuer: '', keys: [] }, opaque: new Map(), exchanges, answer: {}, failWith: 0 },
    isLive: async (token) => (await provider.AccessToken.find(token)) !== undefined,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  registerGrant(provider, state, exchanges);
  const callback = provider.callback();
  server.on('request', (request, response) => {
    if (state.failWith === 0) callback(request, response);
    else response.writeHead(state.failWith, { 'retry-after': '7' }).end('<html>');
  });
  return state;
}

function configure(clients: readonly ClientMetadata[]): Configuration {
  const storage = new MemoryStorage();
  class StorageAdapter {
    constructor(model: string) {
      Object.assign(this, storage.adapterFor(model));
    }
  }
  return {
    adapter: StorageAdapter as unknown as NonNullable<Configuration['adapter']>,
    clients: clients.map((client) => ({
      ...{ grant_types: [grantType], redirect_uris: [], response_types: [] },
      ...client,
    })),
    features: { devInteractions: { enabled: false }, revocation: { enabled: true } },
    scopes: ['read', 'write'],
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
    ttl: { AccessToken: 600 },
  };
}

function registerGrant(provider: Provider, state: TokenExchangeServer, heard: HeardExchange[]): void {
  const names = ['subject_token', 'subject_token_type', 'audience', 'resource', 'scope'];
  provider.registerGrantType(
    grantType,
    async (ctx) => {
      const { client } = ctx.oidc;
      const params: Record<string, unknown> = ctx.oidc.params ?? {};
      if (client === undefined) throw new errors.InvalidClient('no client');
      const { subject, claims } = judge(state, params, state.issuer);
      const scope = String(params.scope ?? '');
      if (scope.split(' ').includes('admin')) throw new errors.InvalidScope('beyond', scope);
      const token = new provider.AccessToken({ accountId: subject, client, scope, grantId: 'none' } as never);
      heard.push({
        ...{ clientId: client.clientId, subject, claims, scope },
        subjectTokenType: String(params.subject_token_type),
        audience: [params.audience ?? []].flat() as string[],
        resource: [params.resource ?? []].flat() as string[],
      });
      ctx.body = {
        ...{ access_token: await token.save(), issued_token_type: accessTokenType, token_type: 'Bearer' },
        ...{ expires_in: token.expiration, ...(scope === '' ? {} : { scope }) },
        ...state.answer,
      };
    },
    names,
    ['audience', 'resource'],
  );
}

function judge({ trust, opaque }: TokenExchangeServer, params: Record<string, unknown>, audience: string) {
  const token = String(params.subject_token ?? '');
  const known = opaque.get(token);
  if (params.subject_token_type === accessTokenType && known !== undefined)
    return { subject: known, claims: null };
  const [head = '', payload = '', signature = ''] = token.split('.');
  const isSigned = trust.keys.some((jwk) =>
    verify(
      'sha256',
      Buffer.from(`${head}.${payload}`),
      { key: createPublicKey({ key: jwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' },
      Buffer.from(signature, 'base64url'),
    ),
  );
  if (!isSigned || params.subject_token_type !== 'urn:ietf:params:oauth:token-type:jwt')
    throw new errors.InvalidRequest('the subject token is not valid');
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
  if (claims.iss !== trust.issuer || claims.aud !== audience || Number(claims.exp) <= Date.now() / 1000)
    throw new errors.InvalidRequest('the subject token is not for us');
  return { subject: String(claims.sub), claims };
}
