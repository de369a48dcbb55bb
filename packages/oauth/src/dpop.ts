/**
 * DPoP: proof that the sender of a request holds the key its token is bound to (RFC 9449).
 *
 * `createDpopProof` is the client's half (§4.2), `verifyDpopProof` the server's (§4.3). The server must also
 * refuse a `jti` it has seen (§11.1); that needs a store shared by replicas, so it is the caller's: the verifier
 * returns the `jti`. Keep it for 6 minutes, which covers both the nonce's life and the `iat` window.
 */
import { createHash, randomUUID, sign, verify } from 'node:crypto';
import {
  importP256Jwk,
  importPrivateP256Jwk,
  isP256PublicJwk,
  type P256PrivateJwk,
  publicHalf,
} from './p256-jwk.ts';
import { unauthenticated } from './unauthenticated.ts';

/** What a client proves: one request, one key, at most one token and one nonce. */
export interface DpopProofInput {
  /** Private key of the login. Pass the same object each time: its import is kept with it. */
  readonly key: P256PrivateJwk;
  /** HTTP method, upper case. */
  readonly htm: string;
  /** Absolute URL of the request; query and fragment are cut off. */
  readonly htu: string;
  /** The access token the request carries, when it carries one. */
  readonly accessToken?: string | undefined;
  /** The last `DPoP-Nonce` this server sent, when it sent one. */
  readonly nonce?: string | undefined;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
  /** Default: a random UUID (122 random bits; §4.2 asks for 96). */
  readonly jti?: string;
}

/** What the server knows about the request that carried the proof. */
export interface DpopVerification {
  /** The `DPoP` header as received. */
  readonly proof: string | undefined;
  readonly htm: string;
  /** Absolute URL from the configured origin and the request's path, never from the `Host` header. */
  readonly htu: string;
  /** The access token of the request; then the proof must carry its hash. */
  readonly accessToken?: string | undefined;
  readonly nowMs: number;
  /** Says whether a nonce is ours and fresh. Left out: nonces are not used and age is judged by `iat` alone. */
  readonly isNonceValid?: (nonce: string) => boolean;
  /** How far `iat` may lie from now when no nonce tells the age. Default 60 s, sensible 5 to 300. */
  readonly maxAgeSeconds?: number;
}

/** A proof that holds. The caller compares `jkt` with the token's `cnf.jkt` and refuses a known `jti`. */
export interface VerifiedDpopProof {
  /** RFC 7638 thumbprint of the proof's key. */
  readonly jkt: string;
  readonly jti: string;
  readonly iatMs: number;
  /** Whether a valid nonce told the age, so that `iat` was not judged. */
  readonly usedNonce: boolean;
}

const maxProofBytes = 4096;
const maxJtiLength = 128;
const base64url = /^[A-Za-z0-9_-]+$/;

/**
 * Makes the proof for one request (RFC 9449 §4.2), with one ECDSA signature.
 *
 * @returns Compact JWS for the `DPoP` header.
 */
export async function createDpopProof(input: DpopProofInput): Promise<string> {
  const claims = {
    jti: input.jti ?? randomUUID(),
    htm: input.htm,
    htu: withoutQuery(input.htu) ?? input.htu,
    iat: Math.floor(input.nowMs / 1000),
    ...(input.accessToken === undefined ? {} : { ath: tokenHash(input.accessToken) }),
    ...(input.nonce === undefined ? {} : { nonce: input.nonce }),
  };
  const header = { typ: 'dpop+jwt', alg: 'ES256', jwk: publicHalf(input.key) };
  const signed = `${encodePart(header)}.${encodePart(claims)}`;
  // RFC 7518 §3.4: the signature is R ‖ S, not DER.
  const key = { key: importPrivateP256Jwk(input.key), dsaEncoding: 'ieee-p1363' as const };
  return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`;
}

const encodePart = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url');

/**
 * Checks a proof against its request: every rule of RFC 9449 §4.3 except replay, with one ECDSA verification.
 *
 * A valid nonce tells the age better than the client's clock: with one, `iat` is not judged (§11.1).
 *
 * @throws KontextError `KX_UNAUTHENTICATED` when the proof breaks a rule; `why` names the check.
 * @throws KontextError `KX_DPOP_NONCE_NEEDED` when all else holds but the nonce is stale, or `iat` is out of the
 *   window and a nonce would help (§8, §9).
 */
export async function verifyDpopProof(request: DpopVerification): Promise<VerifiedDpopProof> {
  const { header, payload, signed, signature } = decodeProof(request.proof);
  const { key, thumbprint } = keyOf(header);
  const proves = verify('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' }, signature);
  if (!proves) throw refuse('check 6', 'the signature of the DPoP proof does not verify');
  const { jti, iat } = checkClaims(payload, request);
  const usedNonce = checkFreshness(payload.nonce, iat, request);
  return { jkt: thumbprint, jti, iatMs: iat * 1000, usedNonce };
}

/** Checks 1 and 2: one header, a well-formed JWT. */
function decodeProof(proof: string | undefined) {
  if (proof === undefined || proof === '') throw refuse('check 1', 'the request carries no DPoP proof');
  // Two headers arrive joined by a comma, which no JWS holds.
  if (proof.includes(',')) throw refuse('check 1', 'the request carries more than one DPoP proof');
  if (proof.length > maxProofBytes) throw refuse('check 2', 'the DPoP proof is longer than 4 KiB');
  const [head, body, tail, extra] = proof.split('.');
  if (!head || !body || !tail || extra !== undefined || ![head, body, tail].every((p) => base64url.test(p)))
    throw refuse('check 2', 'the DPoP proof is not a compact JWS');
  return {
    header: jsonObject(head),
    payload: jsonObject(body),
    signed: `${head}.${body}`,
    signature: Buffer.from(tail, 'base64url'),
  };
}

/** Checks 4, 5 and 7: type, algorithm, key. */
function keyOf(header: Record<string, unknown>) {
  if (header.typ !== 'dpop+jwt') throw refuse('check 4', 'the type of the DPoP proof is not dpop+jwt');
  if (header.alg !== 'ES256') throw refuse('check 5', 'the algorithm of the DPoP proof is not ES256');
  // No critical extension is understood here, and RFC 7515 §4.1.11 then says to refuse.
  if (Object.hasOwn(header, 'crit')) throw refuse('check 2', 'the DPoP proof has critical extensions');
  const jwk = header.jwk;
  if (!isP256PublicJwk(jwk)) throw refuse('check 7', 'the key of the DPoP proof is not a public P-256 key');
  try {
    return importP256Jwk(jwk);
  } catch (cause) {
    throw refuse('check 7', 'the key of the DPoP proof is not a point of P-256', cause);
  }
}

/** Checks 3, 8, 9 and 12: all claims there, method, URL, token. */
function checkClaims(payload: Record<string, unknown>, request: DpopVerification) {
  const { jti, htm, htu, iat, ath } = payload;
  if (typeof jti !== 'string' || jti === '' || typeof iat !== 'number' || !Number.isSafeInteger(iat))
    throw refuse('check 3', 'the DPoP proof lacks jti or iat');
  // §11.1: a huge jti would fill the replay store.
  if (jti.length > maxJtiLength) throw refuse('check 3', 'the jti of the DPoP proof is longer than 128');
  if (htm !== request.htm) throw refuse('check 8', 'the DPoP proof is for another HTTP method');
  const expected = withoutQuery(request.htu);
  if (expected === null || typeof htu !== 'string' || withoutQuery(htu) !== expected)
    throw refuse('check 9', 'the DPoP proof is for another URL');
  if (request.accessToken !== undefined && ath !== tokenHash(request.accessToken))
    throw refuse('check 12', 'the DPoP proof is for another access token');
  return { jti, iat };
}

/** Checks 10 and 11: nonce, else age. */
function checkFreshness(nonce: unknown, iat: number, request: DpopVerification): boolean {
  if (nonce !== undefined && request.isNonceValid) {
    if (typeof nonce !== 'string' || !request.isNonceValid(nonce))
      throw unauthenticated(
        'use_dpop_nonce',
        'RFC 9449 §4.3 check 10',
        'the nonce of the DPoP proof is stale',
      );
    return true;
  }
  const ageSeconds = Math.abs(request.nowMs / 1000 - iat);
  if (ageSeconds <= (request.maxAgeSeconds ?? 60)) return false;
  if (request.isNonceValid)
    throw unauthenticated('use_dpop_nonce', 'RFC 9449 §4.3 check 11', 'the DPoP proof is too old or too new');
  throw refuse('check 11', 'the DPoP proof is too old or too new');
}

/** The `ath` of an access token (RFC 9449 §4.2). */
const tokenHash = (token: string): string => createHash('sha256').update(token).digest('base64url');

/** An absolute URL in its normal spelling (RFC 3986 §6.2.2), without query and fragment; null when it is none. */
function withoutQuery(url: string): string | null {
  if (!URL.canParse(url)) return null;
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}

function jsonObject(part: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch (cause) {
    throw refuse('check 2', 'a part of the DPoP proof is not JSON', cause);
  }
  throw refuse('check 2', 'a part of the DPoP proof is not a JSON object');
}

const refuse = (check: string, message: string, cause?: unknown) =>
  unauthenticated('invalid_dpop_proof', `RFC 9449 §4.3 ${check}`, message, cause);
