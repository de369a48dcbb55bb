/**
 * Our own access tokens at the resource server (RFC 9068 §4).
 *
 * Not checked here: the deny-list of grants and `jti`, and that the DPoP proof's `jkt` equals `cnf.jkt`.
 * The caller does both, on every request.
 */
import { createHash } from 'node:crypto';
import type { JSONWebKeySet, JWTPayload } from 'jose';
import { type DecodedJws, decodeJws, verifyJws } from './es256-jws.ts';
import { isP256PublicJwk } from './p256-jwk.ts';
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
  /** Our public keys. Pass the same object each time: what they have verified is remembered with it. */
  readonly jwks: JSONWebKeySet;
  readonly nowMs: number;
  /** Scope the token must have; any when left out. */
  readonly scope?: string;
}

/** Most links of an `act` chain. RFC 8693 §4.1 sets no bound; a deeper chain is a loop or an attack. */
export const maxActDepth = 8;
const maxTokenBytes = 8192;
/** Tokens whose signature was verified, by key set: a client comes back with the same one for five minutes. */
const verified = new WeakMap<JSONWebKeySet, Map<string, JWTPayload>>();
const maxRemembered = 4096;

/**
 * Verifies a JWT access token: type, algorithm, signature, issuer, audience, expiry, scope and all claims we rely on.
 *
 * @throws KontextError `KX_UNAUTHENTICATED` when any check of RFC 9068 §4 fails; `details.oauth_error` is
 *   `invalid_token`.
 */
export async function verifyAccessToken(request: AccessTokenVerification): Promise<AccessTokenClaims> {
  if (request.token.length > maxTokenBytes) throw refuse('the access token is longer than 8 KiB');
  const claims = readClaims(verifySignature(request));
  if (request.scope !== undefined && !claims.scope.split(' ').includes(request.scope))
    throw refuse(`the access token lacks the scope ${request.scope}`);
  return claims;
}

/** RFC 9068 §4, in its order: type, signature, issuer, audience, times. */
function verifySignature(request: AccessTokenVerification): JWTPayload {
  const payload = readVerified(request.token, request.jwks);
  if (payload === null) throw refuse('the access token is not valid');
  const { iss, aud, exp, nbf, iat } = payload;
  const isAudience = aud === request.audience || (Array.isArray(aud) && aud.includes(request.audience));
  const now = request.nowMs / 1000;
  const isWellTimed = isTime(exp) && isTime(iat) && (nbf === undefined || (isTime(nbf) && nbf <= now));
  if (iss !== request.issuer || !isAudience || !isWellTimed) throw refuse('the access token is not valid');
  if (exp > now) return payload;
  const message = 'the access token has expired';
  throw unauthenticated('invalid_token', 'RFC 9068 §4', message, undefined, 'subject_token_expired');
}

/** The payload of a token that one of the keys signed; null for any other text. */
function readVerified(token: string, jwks: JSONWebKeySet): JWTPayload | null {
  const known = verified.get(jwks) ?? new Map<string, JWTPayload>();
  verified.set(jwks, known);
  // Only a hash is kept: what is remembered is no list of tokens.
  const name = createHash('sha256').update(token).digest('base64url');
  const remembered = known.get(name);
  if (remembered !== undefined) return remembered;
  const jws = decodeJws(token);
  if (jws === null || !isSignedBy(jws, jwks)) return null;
  const oldest = known.size >= maxRemembered ? known.keys().next().value : undefined;
  if (oldest !== undefined) known.delete(oldest);
  known.set(name, jws.payload);
  return jws.payload;
}

/** RFC 9068 §4: the type must be right, and `none` or another algorithm must not. */
function isSignedBy(jws: DecodedJws, { keys }: JSONWebKeySet): boolean {
  const { typ, alg, kid, crit } = jws.header;
  const isAccessToken = typeof typ === 'string' && /^(application\/)?at\+jwt$/i.test(typ);
  // RFC 7515 §4.1.11: no critical extension is understood here.
  if (!isAccessToken || alg !== 'ES256' || crit !== undefined) return false;
  const fitting = kid === undefined ? keys : keys.filter((key) => key.kid === kid);
  return fitting.some((key) => isP256PublicJwk(key) && verifyJws(jws, key));
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

const isTime = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);

const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null;

const refuse = (message: string, cause?: unknown) =>
  unauthenticated('invalid_token', 'RFC 9068 §4', message, cause);
