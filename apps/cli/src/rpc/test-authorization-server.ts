import { createHash, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { verifyDpopProof } from '@kontext/oauth';
import { exportJWK, generateKeyPair, type JSONWebKeySet, SignJWT } from 'jose';

/** What a test wants the token endpoint to say next; `tokens` is success. */
export type Scripted =
  | 'tokens'
  | { readonly status: number; readonly body: Readonly<Record<string, unknown>> | string };

/** A small authorization server that speaks RFC 8628, RFC 6749 §6, RFC 7009 and RFC 9449. */
export interface TestAuthorizationServer {
  readonly jwks: JSONWebKeySet;
  /** Answers of the token endpoint to device codes, taken in order; then `tokens`. */
  readonly deviceAnswers: Scripted[];
  /** Answers of the token endpoint to refresh tokens, taken in order; then `tokens`. */
  readonly refreshAnswers: Scripted[];
  readonly revoked: string[];
  readonly userAgents: string[];
  /** Requests that were pushed (RFC 9126), with the thumbprint of the key that proved itself. */
  readonly pushed: { readonly params: Readonly<Record<string, string>>; readonly jkt: string | null }[];
  /** Requests to refresh that were made, with the token each carried. */
  readonly refreshes: string[];
  /** Whether each refresh gives a new refresh token and ends the old one. */
  rotate: boolean;
  /** Refreshes are not answered before this resolves. */
  hold: Promise<void>;
  requireNonce: boolean;
  userId: string;
  expiresInSeconds: number;
  interval: number;
  /** The server's clock. */
  now: () => number;
  handle(origin: string, req: IncomingMessage, res: ServerResponse): Promise<void>;
}

/** Makes the server's state; {@link TestAuthorizationServer.handle} is mounted under `/oauth`. */
export async function createTestAuthorizationServer(): Promise<TestAuthorizationServer> {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const jwk = { ...(await exportJWK(publicKey)), kid: 'test', alg: 'ES256', use: 'sig' };
  const liveTokens = new Map<string, string>();

  const sign = (typ: string, claims: Record<string, unknown>, issuer: string, audience: string) =>
    new SignJWT(claims)
      .setProtectedHeader({ alg: 'ES256', typ, kid: 'test' })
      .setIssuer(issuer)
      .setAudience(audience)
      .setIssuedAt(Math.floor(server.now() / 1000))
      .setExpirationTime(Math.floor(server.now() / 1000) + 300)
      .setJti(randomUUID())
      .sign(privateKey);

  const issueTokens = async (origin: string, jkt: string, refreshToken: string) => {
    liveTokens.set(refreshToken, jkt);
    const issuer = `${origin}/oauth`;
    const claims = {
      sub: server.userId,
      org: 'org_1',
      client_id: 'kontext-cli',
      gid: 'grant',
      scope: 'kontext',
      cnf: { jkt },
    };
    return {
      token_type: 'DPoP',
      access_token: await sign('at+jwt', claims, issuer, origin),
      id_token: await sign('JWT', { sub: server.userId }, issuer, 'kontext-cli'),
      refresh_token: refreshToken,
      expires_in: server.expiresInSeconds,
    };
  };

  const token = async (origin: string, req: IncomingMessage, res: ServerResponse, form: URLSearchParams) => {
    const hasNonce = decodeProof(req).nonce === 'nonce-1';
    if (server.requireNonce && !hasNonce) {
      res.setHeader('dpop-nonce', 'nonce-1');
      return answer(res, 400, { error: 'use_dpop_nonce' });
    }
    const code = form.get('code');
    if (
      code !== null &&
      !isRedeemable(server.pushed[Number(code)], form, await proofKey(server, origin, req))
    )
      return answer(res, 400, { error: 'invalid_grant' });
    const isRefresh = form.get('grant_type') === 'refresh_token';
    const presented = form.get('refresh_token') ?? '';
    if (isRefresh) server.refreshes.push(presented);
    if (isRefresh) await server.hold;
    const next = (isRefresh ? server.refreshAnswers : server.deviceAnswers).shift() ?? 'tokens';
    if (next !== 'tokens') return answer(res, next.status, next.body);
    const jkt = await proofKey(server, origin, req).catch(() => null);
    if (jkt === null) return answer(res, 400, { error: 'invalid_dpop_proof' });
    if (isRefresh && liveTokens.get(presented) !== jkt) return answer(res, 400, { error: 'invalid_grant' });
    if (isRefresh && server.rotate) liveTokens.delete(presented);
    const refreshToken = isRefresh && !server.rotate ? presented : `refresh-${randomUUID()}`;
    return answer(res, 200, await issueTokens(origin, jkt, refreshToken));
  };

  const server: TestAuthorizationServer = {
    jwks: { keys: [jwk] } as JSONWebKeySet,
    deviceAnswers: [],
    refreshAnswers: [],
    revoked: [],
    userAgents: [],
    pushed: [],
    refreshes: [],
    rotate: false,
    hold: Promise.resolve(),
    requireNonce: false,
    userId: 'usr_1',
    expiresInSeconds: 300,
    interval: 0.02,
    now: Date.now,
    async handle(origin, req, res) {
      server.userAgents.push(req.headers['user-agent'] ?? '');
      const path = (req.url ?? '').slice('/oauth'.length);
      if (path === '/.well-known/openid-configuration') return answer(res, 200, metadata(`${origin}/oauth`));
      if (path === '/jwks') return answer(res, 200, server.jwks);
      const form = new URLSearchParams(await readText(req));
      if (path === '/device/auth') return answer(res, 200, deviceAnswer(origin, server.interval));
      if (path === '/request') return answer(res, 201, await push(server, origin, req, form));
      if (path === '/token') return token(origin, req, res, form);
      if (path === '/token/revocation') {
        server.revoked.push(form.get('token') ?? '');
        return answer(res, 200, '');
      }
      return answer(res, 404, { error: 'not_found' });
    },
  };
  return server;
}

/** @returns Thumbprint of the key that proved itself. */
async function proofKey(
  server: TestAuthorizationServer,
  origin: string,
  req: IncomingMessage,
): Promise<string> {
  const header = req.headers.dpop;
  const { jkt } = await verifyDpopProof({
    proof: typeof header === 'string' ? header : undefined,
    htm: 'POST',
    htu: `${origin}${req.url}`,
    nowMs: server.now(),
    isNonceValid: (nonce) => nonce === 'nonce-1',
  });
  return jkt;
}

/** RFC 9126 §2.2; the URI holds the place of the request. */
async function push(
  server: TestAuthorizationServer,
  origin: string,
  req: IncomingMessage,
  form: URLSearchParams,
) {
  const jkt = await proofKey(server, origin, req).catch(() => null);
  const at = server.pushed.push({ params: Object.fromEntries(form), jkt }) - 1;
  return { request_uri: `urn:test:${at}`, expires_in: 60 };
}

/** RFC 7636 §4.6 and RFC 9449 §10; the code is the place of the pushed request. */
function isRedeemable(
  pushed: TestAuthorizationServer['pushed'][number] | undefined,
  form: URLSearchParams,
  jkt: string,
): boolean {
  const challenge = createHash('sha256')
    .update(form.get('code_verifier') ?? '')
    .digest('base64url');
  const { params } = pushed ?? {};
  return (
    params?.code_challenge_method === 'S256' &&
    params.code_challenge === challenge &&
    params.redirect_uri === form.get('redirect_uri') &&
    pushed?.jkt === jkt
  );
}

const deviceAnswer = (origin: string, interval: number) => ({
  device_code: createHash('sha256').update(randomUUID()).digest('hex'),
  user_code: 'BCDF-GHJK',
  verification_uri: `${origin}/activate`,
  verification_uri_complete: `${origin}/activate?user_code=BCDF-GHJK`,
  expires_in: 600,
  interval,
});

const metadata = (issuer: string) => ({
  issuer,
  jwks_uri: `${issuer}/jwks`,
  token_endpoint: `${issuer}/token`,
  authorization_endpoint: `${issuer}/auth`,
  pushed_authorization_request_endpoint: `${issuer}/request`,
  authorization_response_iss_parameter_supported: true,
  code_challenge_methods_supported: ['S256'],
  device_authorization_endpoint: `${issuer}/device/auth`,
  revocation_endpoint: `${issuer}/token/revocation`,
  id_token_signing_alg_values_supported: ['ES256'],
  token_endpoint_auth_methods_supported: ['none'],
});

function decodeProof(req: IncomingMessage): Record<string, unknown> {
  const header = req.headers.dpop;
  const body = typeof header === 'string' ? header.split('.')[1] : undefined;
  return body ? (JSON.parse(Buffer.from(body, 'base64url').toString()) as Record<string, unknown>) : {};
}

async function readText(req: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of req) text += String(chunk);
  return text;
}

function answer(res: ServerResponse, status: number, body: object | string): void {
  res.statusCode = status;
  if (typeof body === 'string') res.end(body);
  else res.setHeader('content-type', 'application/json').end(JSON.stringify(body));
}
