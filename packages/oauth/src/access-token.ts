/**
 * Our own access tokens at the resource server (RFC 9068 §4).
 *
 * Not checked here: the deny-list of grants and `jti`, and that the DPoP proof's `jkt` equals `cnf.jkt`.
 * The caller does both, on every request.
 */
import { createLocalJWKSet, type JSONWebKeySet, type JWTPayload, jwtVerify } from 'jose';
import { unauthenticated } from './unauthenticated.ts';

/** Who acted, outermost first (RFC 8693 §4.1). Inner actors are history and decide nothing. */
export interface ActClaim {
  readonly sub: string;
  readonly act?: ActClaim;
}

/** What a verified access token says. */
export interface AccessTokenClaims {
  /** Our user id, `usr_…`. */
  readonly sub: string;
  /** The organisation, `org_…`. */
  readonly org: string;
  readonly clientId: string;
  /** Space-separated, may be empty. */
  readonly scope: string;
  readonly jti: string;
  /** Expiry in seconds since 1970, as on the wire. */
  readonly exp: number;
  /** The OAuth grant the token came from: what is revoked at logout. */
  readonly grantId: string;
  /** Thumbprint of the key the token is bound to. */
  readonly jkt: string;
  /** Who acts; without it the token is a human's own (identity.md §3). */
  readonly act?: ActClaim;
  /** Who may become the actor of a further exchange (RFC 8693 §4.4). */
  readonly mayAct?: string;
  /** Our session, `ses_…`: every delegation token has one. */
  readonly sid?: string;
  /** One name for everything that was exchanged from one token of a login. */
  readonly txn?: string;
  /** How the person was authenticated (RFC 9068 §2.2.1). */
  readonly acr?: string;
  /** When the person was authenticated, in seconds since 1970 (RFC 9068 §2.2.1). */
  readonly authTime?: number;
}

/** What to check a token against. */
export interface AccessTokenVerification {
  readonly token: string;
  /** Our issuer, compared byte by byte. */
  readonly issuer: string;
  /** Our API, compared byte by byte; the token must have this one audience as a string. */
  readonly audience: string;
  /** Our public keys. Pass the same object each time: the imported keys are kept with it. */
  readonly jwks: JSONWebKeySet;
  readonly nowMs: number;
  /** Scope the token must have; any when left out. */
  readonly scope?: string;
}

/** Most links of an `act` chain. RFC 8693 §4.1 sets no bound; a deeper chain is a loop or an attack. */
export const maxActDepth = 8;
const maxTokenBytes = 8192;
const keySets = new WeakMap<JSONWebKeySet, ReturnType<typeof createLocalJWKSet>>();

/**
 * Verifies a JWT access token: type, algorithm, signature, issuer, audience, expiry, scope and all claims we rely on.
 *
 * @throws KontextError `KX_UNAUTHENTICATED` when any check of RFC 9068 §4 fails; `details.oauth_error` is
 *   `invalid_token`.
 */
export async function verifyAccessToken(request: AccessTokenVerification): Promise<AccessTokenClaims> {
  if (request.token.length > maxTokenBytes) throw refuse('the access token is longer than 8 KiB');
  const claims = readClaims(await verifySignature(request));
  if (request.scope !== undefined && !claims.scope.split(' ').includes(request.scope))
    throw refuse(`the access token lacks the scope ${request.scope}`);
  return claims;
}

async function verifySignature(request: AccessTokenVerification): Promise<JWTPayload> {
  try {
    const { payload } = await jwtVerify(request.token, keySet(request.jwks), {
      typ: 'at+jwt',
      algorithms: ['ES256'],
      issuer: request.issuer,
      audience: request.audience,
      requiredClaims: ['exp', 'iat', 'sub', 'jti', 'client_id'],
      currentDate: new Date(request.nowMs),
    });
    return payload;
  } catch (cause) {
    const expired = cause instanceof Error && 'code' in cause && cause.code === 'ERR_JWT_EXPIRED';
    if (!expired) throw refuse('the access token is not valid', cause);
    const message = 'the access token has expired';
    throw unauthenticated('invalid_token', 'RFC 9068 §4', message, cause, 'subject_token_expired');
  }
}

function readClaims(payload: JWTPayload): AccessTokenClaims {
  const { sub, jti, exp, aud, scope, org, client_id: clientId, gid, cnf, act } = payload;
  const jkt = isObject(cnf) ? cnf.jkt : undefined;
  // One token, one audience: an array would let a token of ours be used in two places.
  if (typeof aud !== 'string') throw refuse('the access token has a list of audiences');
  if (!isText(sub) || !isText(jti) || typeof exp !== 'number' || !isText(clientId) || !isText(org))
    throw refuse('the access token lacks sub, org, client_id, jti or exp');
  if (!isText(gid)) throw refuse('the access token names no grant');
  if (!isText(jkt)) throw refuse('the access token is not bound to a key');
  const claims = { sub, org, clientId, scope: isText(scope) ? scope : '', jti, exp, grantId: gid, jkt };
  const login = { ...readText(payload, 'acr'), ...readAuthTime(payload) };
  return act === undefined ? { ...claims, ...login } : { ...claims, ...login, ...readDelegation(payload) };
}

/** A token that says who acts says also in which session, and who may act next. */
function readDelegation(payload: JWTPayload): Partial<AccessTokenClaims> {
  const { sid, txn, act, may_act: mayAct } = payload;
  const next = isObject(mayAct) ? mayAct.sub : undefined;
  if (!isText(sid) || !isText(txn) || !isText(next))
    throw refuse('the delegation token lacks sid, txn or may_act');
  return { act: readAct(act, 1), sid, txn, mayAct: next };
}

const readText = (payload: JWTPayload, name: 'acr'): Partial<AccessTokenClaims> => {
  const value = payload[name];
  return isText(value) ? { [name]: value } : {};
};

const readAuthTime = ({ auth_time: time }: JWTPayload): Partial<AccessTokenClaims> =>
  typeof time === 'number' && Number.isFinite(time) ? { authTime: time } : {};

function readAct(value: unknown, depth: number): ActClaim {
  if (depth > maxActDepth) throw refuse('the act chain of the access token is deeper than 8');
  const { sub, act } = isObject(value) ? value : {};
  if (!isText(sub)) throw refuse('the act claim of the access token is malformed');
  return act === undefined ? { sub } : { sub, act: readAct(act, depth + 1) };
}

function keySet(jwks: JSONWebKeySet) {
  const known = keySets.get(jwks) ?? createLocalJWKSet(jwks);
  keySets.set(jwks, known);
  return known;
}

const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null;

const refuse = (message: string, cause?: unknown) =>
  unauthenticated('invalid_token', 'RFC 9068 §4', message, cause);
