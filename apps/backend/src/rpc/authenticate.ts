import {
  type ConnectError,
  createContextKey,
  type HandlerContext,
  type Interceptor,
} from '@connectrpc/connect';
import { KontextError } from '@kontext/errors';
import {
  type AccessTokenClaims,
  type NonceIssuer,
  unauthenticated,
  verifyAccessToken,
  verifyDpopProof,
} from '@kontext/oauth';
import { apiScope, type Caller, type Delegation } from '../caller.ts';
import { claimOf, isForUs, toDelegation } from '../credentials/verify-subject.ts';
import { challengeOf } from '../http/metadata.ts';
import type { CallerFacts, Callers, TokenClaim } from '../login/callers.ts';
import type { ServerKeys } from '../login/server-keys.ts';
import { boundStream } from './bound-stream.ts';
import { toConnectError } from './connect-error.ts';

/** Whoever called, with what the token said. */
export interface AuthenticatedCaller extends Caller {
  readonly orgName: string;
  readonly groups: readonly string[];
  /** OAuth client of the login. */
  readonly clientId: string;
  /** Thumbprint of the key the token is bound to. */
  readonly jkt: string;
  /** Space-separated scope of the token. */
  readonly scope: string;
  /** When the token, and with it a stream, ends. */
  readonly tokenExpiresAtMs: number;
  /** What the token is asked for again while a stream runs. */
  readonly token: TokenClaim;
  /** How the person behind the login was authenticated; null when the login does not say. */
  readonly acr: string | null;
  readonly authAt: Date | null;
  /** Set when an agent acts by a delegation token: it may call little, see `permissions.ts`. */
  readonly delegation: Delegation | null;
}

/** Where an RPC finds its caller; prefer {@link callerOf}. */
export const callerKey = createContextKey<AuthenticatedCaller | null>(null, {
  description: 'authenticated caller',
});

/**
 * The caller of an RPC.
 *
 * @throws KontextError `KX_UNAUTHENTICATED` when the call did not pass {@link createAuthentication}: a mistake of ours.
 */
export function callerOf(context: Pick<HandlerContext, 'values'>): AuthenticatedCaller {
  const caller = context.values.get(callerKey);
  if (!caller) throw new KontextError('KX_UNAUTHENTICATED', 'the call was not authenticated');
  return caller;
}

/** What authentication needs. */
export interface AuthenticationParts {
  readonly apiUrl: string;
  readonly issuer: string;
  readonly keys: Pick<ServerKeys, 'publicJwks'>;
  readonly nonces: NonceIssuer;
  readonly callers: Callers;
  readonly nowMs: () => number;
  /** How often a running stream looks whether its grant still lives; default 1,000 ms. */
  readonly livenessIntervalMs?: number;
}

/** The parts of a request that are judged. */
export interface AuthenticationInput {
  readonly authorization: string | null;
  readonly dpop: string | null;
  readonly method: string;
  /** URL as received; only its path counts, the origin is ours. */
  readonly url: string;
}

/**
 * Authenticates one request, in this order: scheme, access token (RFC 9068 §4), proof (RFC 9449 §4.3, §7), key, then in
 * one statement replay, membership, user, grant, deny-list, and for a delegation token its lease, session and agent.
 *
 * @throws KontextError `KX_UNAUTHENTICATED`, or `KX_DPOP_NONCE_NEEDED` when a nonce would help.
 */
export async function authenticate(
  parts: AuthenticationParts,
  input: AuthenticationInput,
): Promise<AuthenticatedCaller> {
  const nowMs = parts.nowMs();
  const token = /^DPoP +([A-Za-z0-9._~+/-]+=*)$/i.exec(input.authorization ?? '')?.[1];
  if (token === undefined) throw refuse('the request carries no DPoP access token', 'RFC 9449 §7.1');
  const { apiUrl: audience, issuer } = parts;
  const expected = { issuer, audience, jwks: parts.keys.publicJwks, nowMs };
  const claims = await verifyAccessToken({ token, ...expected });
  if (!isForUs(claims)) throw refuse(`the access token lacks the scope ${apiScope}`, 'RFC 9068 §4');
  const proof = await verifyDpopProof({
    proof: input.dpop ?? undefined,
    htm: input.method,
    htu: `${parts.apiUrl}${new URL(input.url, parts.apiUrl).pathname}`,
    accessToken: token,
    nowMs,
    isNonceValid: (nonce) => parts.nonces.isValid(nonce, nowMs),
  });
  if (proof.jkt !== claims.jkt) throw refuse('the access token is bound to another key', 'RFC 9449 §7.1');
  const tokenClaim = claimOf(claims);
  const facts = await parts.callers.load({
    ...tokenClaim,
    ...{ orgId: claims.org, jkt: proof.jkt, proofId: proof.jti },
  });
  return toCaller(claims, checkFacts(facts));
}

function checkFacts(facts: CallerFacts | null): CallerFacts {
  if (!facts) throw refuse('the user is not a member of the organisation', 'RFC 9068 §4');
  if (!facts.proofIsNew)
    throw unauthenticated('invalid_dpop_proof', 'RFC 9449 §11.1', 'the DPoP proof was used before');
  if (facts.userDisabled) throw revoked('the user is disabled');
  if (!facts.grantIsLive) throw revoked('the login was revoked');
  if (!facts.tokenIsLive) throw revoked('the access token was revoked');
  return facts;
}

function toCaller(claims: AccessTokenClaims, facts: CallerFacts): AuthenticatedCaller {
  const { sub: userId, org: orgId, grantId, clientId, jkt, scope, exp, acr, authTime } = claims;
  const { userName, orgName, role, groups } = facts;
  return {
    ...{ userId, userName, orgId, orgName, role, groups, grantId, clientId, jkt, scope },
    ...{ tokenExpiresAtMs: exp * 1000, token: claimOf(claims), acr: facts.acr ?? acr ?? null },
    authAt: facts.authAt ?? (authTime === undefined ? null : new Date(authTime * 1000)),
    delegation: toDelegation(claims, facts.leaseId),
  };
}

/**
 * The interceptor in front of every RPC. It puts the caller into the context values, maps errors, hands out nonces, and
 * ends a stream when its token expires or it or its grant is revoked.
 *
 * @param onUnexpected Told about errors that are not ours, with the method's name.
 */
export function createAuthentication(
  parts: AuthenticationParts,
  onUnexpected: (err: unknown, method: string) => void,
): Interceptor {
  return (next) => async (request) => {
    const fail = (error: unknown): ConnectError => {
      const mapped = toConnectError(error);
      if (!(error instanceof KontextError) && mapped !== error) onUnexpected(error, request.method.name);
      addChallenge(mapped.metadata, error, parts);
      return mapped;
    };
    try {
      const { header, requestMethod: method, url } = request;
      const input = { authorization: header.get('authorization'), dpop: header.get('dpop'), method, url };
      const caller = await authenticate(parts, input);
      request.contextValues.set(callerKey, caller);
      const response = await next(request);
      response.header.set('dpop-nonce', parts.nonces.issue(parts.nowMs()));
      response.header.set('cache-control', 'no-store');
      if (!response.stream) return response;
      return { ...response, message: boundStream(response.message, caller, parts, fail) };
    } catch (error) {
      throw fail(error);
    }
  };
}

/** RFC 9449 §7.1, §9, RFC 9470 §3: what the client has to do better. */
function addChallenge(metadata: Headers, error: unknown, parts: AuthenticationParts): void {
  metadata.set('dpop-nonce', parts.nonces.issue(parts.nowMs()));
  const wait = error instanceof KontextError ? error.details.retry_after_seconds : undefined;
  if (wait !== undefined) metadata.set('retry-after', String(wait));
  if (!(error instanceof KontextError) || error.spec.rpcCode !== 'unauthenticated') return;
  const { oauth_error, acr_values, max_age } = error.details;
  metadata.set('www-authenticate', challengeOf(parts.apiUrl, { error: oauth_error, acr_values, max_age }));
}

const refuse = (message: string, section: string): KontextError =>
  unauthenticated('invalid_token', section, message);

const revoked = (message: string): KontextError =>
  unauthenticated('invalid_token', 'RFC 9068 §4', message, undefined, 'subject_token_revoked');
