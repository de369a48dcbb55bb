/**
 * Small servers that speak one provider's OAuth with its habits, in this process, on loopback.
 *
 * The engine holds grants and tokens and approves everything by itself; a profile says where a provider departs: paths, how
 * the client proves itself, what a refresh does, how answers and errors look, what else it serves. `start-upstream.ts` is the
 * thorough server; these are thorough about the quirks alone.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One answer. A text goes out as it is, everything else as JSON. */
export interface StandInAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: unknown;
}

/** What a person approved, and what is live of it. */
export interface StandInGrant {
  readonly scopes: readonly string[];
  readonly account: string;
  readonly accessTokens: Set<string>;
  /** Null: it has none. */
  refreshToken: string | null;
  /** Refresh tokens that were used, and when. */
  readonly used: Map<string, number>;
}

/** A request as a profile sees it. */
export interface StandInCall {
  readonly headers: IncomingMessage['headers'];
  readonly body: Readonly<Record<string, unknown>>;
  readonly grants: Set<StandInGrant>;
  readonly clientId: string;
  /** Whether the client proved itself by user and password. */
  readonly isBasic: boolean;
  /** The grant of the bearer token; null when it is dead. */
  readonly bearer: StandInGrant | null;
  /** A new access token of a grant. */
  readonly issue: (grant: StandInGrant) => string;
}

/** How one provider does it. */
export interface StandInProfile {
  readonly authorizePath: string;
  readonly tokenPath: string;
  readonly clientAuth: 'basic' | 'post';
  readonly tokenBody: 'form' | 'json';
  readonly scopeParameter: string;
  readonly scopeSeparator: ' ' | ',';
  /** Null: the answer does not say. */
  readonly expiresInSeconds: number | null;
  readonly refresh: 'none' | 'stable' | 'rotates' | 'ends-old-token';
  /** For how long a used refresh token still works; default 0. */
  readonly leewaySeconds?: number;
  /** What the authorization request must have; an error name when it has not. */
  readonly checkAuthorize?: (query: URLSearchParams) => string | null;
  /** Whether this request gets a refresh token; default yes. */
  readonly givesRefreshToken?: (query: URLSearchParams) => boolean;
  readonly answer: (tokens: StandInTokens) => StandInAnswer;
  readonly refuse: (error: string) => StandInAnswer;
  /** `POST /path` and what it does; `{client_id}` stands for ours. */
  readonly routes: Readonly<Record<string, (call: StandInCall) => StandInAnswer>>;
}

/** Tokens just issued. */
export interface StandInTokens {
  readonly accessToken: string;
  readonly refreshToken: string | null;
  readonly expiresInSeconds: number | null;
  readonly grant: StandInGrant;
  /** The token request's headers. */
  readonly headers: IncomingMessage['headers'];
}

/** A running stand-in. */
export interface StandIn {
  readonly url: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** Every request, as `POST /path`. */
  readonly requests: readonly string[];
  /** Queries of the authorization requests. */
  readonly authorizations: readonly URLSearchParams[];
  /** The next request that is no authorization request gets this instead. */
  answerNext(answer: StandInAnswer): void;
  /** Whether an access token works. */
  isLive(accessToken: string): boolean;
  /** Live refresh tokens. */
  refreshTokens(): readonly string[];
  close(): Promise<void>;
}

interface State {
  readonly profile: StandInProfile;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly account: string;
  readonly grants: Set<StandInGrant>;
  readonly codes: Map<string, { readonly grant: StandInGrant; readonly query: URLSearchParams }>;
  readonly requests: string[];
  readonly authorizations: URLSearchParams[];
  readonly waiting: StandInAnswer[];
}

/** Starts a stand-in. @param account Who approves. */
export async function startStandIn(profile: StandInProfile, account = 'octocat'): Promise<StandIn> {
  const state: State = {
    ...{
      profile,
      account,
      grants: new Set(),
      codes: new Map(),
      requests: [],
      authorizations: [],
      waiting: [],
    },
    ...{ clientId: 'stand-in-client', clientSecret: randomBytes(24).toString('hex') },
  };
  const server = createServer((request, response) => {
    serve(state, request, response).catch((error: unknown) => {
      send(response, { status: 500, body: { error: 'server_error', error_description: String(error) } });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    ...{ clientId: state.clientId, clientSecret: state.clientSecret },
    ...{ requests: state.requests, authorizations: state.authorizations },
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    answerNext: (answer) => void state.waiting.push(answer),
    isLive: (token) => findBearer(state, token) !== null,
    refreshTokens: () => [...state.grants].flatMap(({ refreshToken }) => refreshToken ?? []),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function serve(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://stand-in');
  const { profile } = state;
  if (request.method === 'GET' && url.pathname === profile.authorizePath) {
    return authorize(state, url.searchParams, response);
  }
  state.requests.push(`${request.method} ${url.pathname}`);
  const call = await readCall(state, request);
  const planned = state.waiting.shift();
  if (planned) return send(response, planned);
  if (url.pathname === profile.tokenPath) return send(response, token(state, request, call));
  const path = url.pathname.replaceAll(state.clientId, '{client_id}');
  const route = profile.routes[`${request.method} ${path}`];
  send(response, route ? route(call) : { status: 404, body: { message: 'Not Found' } });
}

function send(response: ServerResponse, { status, headers, body }: StandInAnswer): void {
  const text = typeof body === 'string' ? body : body === undefined ? '' : JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers }).end(text);
}

async function readCall(state: State, request: IncomingMessage): Promise<StandInCall> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString('utf8');
  const isJson = (request.headers['content-type'] ?? '').includes('json');
  const body = isJson ? (JSON.parse(text || '{}') as object) : Object.fromEntries(new URLSearchParams(text));
  const { authorization = '' } = request.headers;
  return {
    ...{ headers: request.headers, body: { ...body }, grants: state.grants, clientId: state.clientId },
    isBasic: isSame(authorization, `Basic ${Buffer.from(basicPair(state)).toString('base64')}`),
    bearer: findBearer(state, /^Bearer (.+)$/.exec(authorization)?.[1] ?? ''),
    issue: issueAccessToken,
  };
}

const basicPair = ({ clientId, clientSecret }: State): string => `${clientId}:${clientSecret}`;

const findBearer = ({ grants }: State, value: string): StandInGrant | null =>
  [...grants].find(({ accessTokens }) => accessTokens.has(value)) ?? null;

function isSame(a: string, b: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(a), hash(b));
}

function authorize(state: State, query: URLSearchParams, response: ServerResponse): void {
  const { profile } = state;
  state.authorizations.push(query);
  const back = new URL(query.get('redirect_uri') ?? 'http://127.0.0.1:1/');
  back.searchParams.set('state', query.get('state') ?? '');
  const error =
    query.get('client_id') === state.clientId ? profile.checkAuthorize?.(query) : 'invalid_client';
  if (error) back.searchParams.set('error', error);
  else {
    const code = randomBytes(12).toString('hex');
    const scopes = (query.get(profile.scopeParameter) ?? '').split(profile.scopeSeparator).filter(Boolean);
    const grant: StandInGrant = {
      ...{ scopes, account: state.account, accessTokens: new Set(), refreshToken: null, used: new Map() },
    };
    state.codes.set(code, { grant, query });
    back.searchParams.set('code', code);
  }
  response.writeHead(302, { location: back.href }).end();
}

function token(state: State, request: IncomingMessage, call: StandInCall): StandInAnswer {
  const { profile } = state;
  const wantsJson = (request.headers['content-type'] ?? '').includes('json');
  if (wantsJson !== (profile.tokenBody === 'json')) return profile.refuse('invalid_request');
  const { client_id: id, client_secret: secret } = call.body;
  const isPost = id === state.clientId && isSame(String(secret ?? ''), state.clientSecret);
  if (!(profile.clientAuth === 'basic' ? call.isBasic : isPost)) return profile.refuse('invalid_client');
  const { grant_type: type } = call.body;
  if (type === 'authorization_code') return redeem(state, call);
  return type === 'refresh_token' ? refresh(state, call) : profile.refuse('unsupported_grant_type');
}

function redeem(state: State, { body, headers }: StandInCall): StandInAnswer {
  const { profile } = state;
  const known = state.codes.get(String(body.code));
  state.codes.delete(String(body.code));
  if (known === undefined) return profile.refuse('invalid_grant');
  const { grant, query } = known;
  const challenge = createHash('sha256').update(String(body.code_verifier)).digest('base64url');
  // RFC 7636 §4.6, RFC 6749 §4.1.3.
  if (query.get('code_challenge') !== challenge || query.get('redirect_uri') !== body.redirect_uri) {
    return profile.refuse('invalid_grant');
  }
  const hasRefresh = profile.refresh !== 'none' && (profile.givesRefreshToken?.(query) ?? true);
  if (hasRefresh) grant.refreshToken = newToken('rt');
  state.grants.add(grant);
  return answerWith(state, grant, grant.refreshToken, headers);
}

function refresh(state: State, { body, headers }: StandInCall): StandInAnswer {
  const { profile, grants } = state;
  const given = String(body.refresh_token);
  const leewayMs = (profile.leewaySeconds ?? 0) * 1000;
  const grant = [...grants].find(
    ({ refreshToken, used }) =>
      refreshToken === given || Date.now() - (used.get(given) ?? Number.NEGATIVE_INFINITY) < leewayMs,
  );
  if (grant === undefined || grant.refreshToken === null) return profile.refuse('invalid_grant');
  if (profile.refresh === 'stable') return answerWith(state, grant, null, headers);
  if (profile.refresh === 'ends-old-token') grant.accessTokens.clear();
  grant.used.set(given, Date.now());
  grant.refreshToken = newToken('rt');
  return answerWith(state, grant, grant.refreshToken, headers);
}

function answerWith(
  { profile }: State,
  grant: StandInGrant,
  refreshToken: string | null,
  headers: IncomingMessage['headers'],
): StandInAnswer {
  const accessToken = issueAccessToken(grant);
  const { expiresInSeconds } = profile;
  return profile.answer({ accessToken, refreshToken, expiresInSeconds, grant, headers });
}

function issueAccessToken(grant: StandInGrant): string {
  const value = newToken('at');
  grant.accessTokens.add(value);
  return value;
}

const newToken = (kind: string): string => `${kind}_${randomBytes(18).toString('base64url')}`;
