/**
 * Signed policy snapshots: which policies hold, for whom, since when.
 *
 * A compact JWS (RFC 7515) whose header carries its key. The key says nothing by itself: clients pin its RFC 7638
 * thumbprint at login. The policies travel beside the JWS; their hash is inside.
 */
import { sign, verify } from 'node:crypto';
import { KontextError } from '@kontext/errors';
import {
  importP256Jwk,
  importPrivateP256Jwk,
  isP256PublicJwk,
  type P256PrivateJwk,
  publicHalf,
} from './p256-jwk.ts';

/** What a snapshot says. */
export interface SnapshotClaims {
  /** `org_…` */
  readonly org: string;
  /** The group the policy is for; empty for everybody. */
  readonly team: string;
  readonly mode: 'observe' | 'enforce';
  readonly version: number;
  /** Newest publication of the organisation, for whomever, when it was signed: it never goes back, whatever holds for whom. */
  readonly seq: number;
  /** What is denied in enforce while the snapshot is stale: what rules mark sensitive, or everything. */
  readonly stale: 'deny_sensitive' | 'deny_all';
  /** Hex SHA-256 over the policies, as `PolicySnapshot.jws` in proto/kontext/v1/policies.proto says. */
  readonly hash: string;
  /** Seconds since 1970. */
  readonly iat: number;
  readonly exp: number;
}

/** What to check a snapshot against. */
export interface SnapshotVerification {
  readonly jws: string;
  /** `hashPolicies` of the policies that came with the JWS, computed by the caller from what it will use. */
  readonly policiesHash: string;
  /** RFC 7638 thumbprint from the login. */
  readonly pinnedThumbprint: string;
  /** Highest `seq` seen for this organisation; 0 at first. */
  readonly minSeq: number;
  readonly orgId: string;
  readonly nowMs: number;
  /** Default false. True for the cached snapshot of an offline start, which the caller then marks stale. */
  readonly acceptExpired?: boolean;
}

const type = 'kontext-policy+jwt';
const maxJwsBytes = 8192;
const base64url = /^[A-Za-z0-9_-]*$/;
/** Clocks of client and backend differ a little. */
const skewSeconds = 60;

/** Signs a snapshot (ES256). */
export async function signSnapshot(claims: SnapshotClaims, key: P256PrivateJwk): Promise<string> {
  const { org, team, mode, version, hash, seq, stale, iat, exp } = claims;
  const header = { alg: 'ES256', typ: type, jwk: publicHalf(key) };
  const signed = [header, { org, team, mode, version, hash, seq, stale, iat, exp }]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  const signingKey = { key: importPrivateP256Jwk(key), dsaEncoding: 'ieee-p1363' as const };
  return `${signed}.${sign('sha256', Buffer.from(signed), signingKey).toString('base64url')}`;
}

/**
 * Checks key, signature, organisation, expiry, policies and seq of a snapshot, in this order.
 *
 * @throws KontextError `KX_SNAPSHOT_INVALID` when any of them does not fit.
 * @throws KontextError `KX_SNAPSHOT_ROLLBACK` when all fits but a higher seq was seen before.
 */
export async function verifySnapshot(request: SnapshotVerification): Promise<SnapshotClaims> {
  const claims = readSigned(request);
  if (claims.org !== request.orgId) throw invalid('the policy snapshot is for another organisation');
  const isOver = claims.exp + skewSeconds <= request.nowMs / 1000;
  if (isOver && !request.acceptExpired) throw invalid('the policy snapshot has expired');
  if (claims.hash !== request.policiesHash) throw invalid('the policies are not the ones that were signed');
  if (claims.seq < request.minSeq)
    throw new KontextError('KX_SNAPSHOT_ROLLBACK', 'the policy snapshot is older than one seen before', {
      why: `it has publication ${claims.seq}, and publication ${request.minSeq} was seen`,
    });
  return claims;
}

function readSigned({ jws, pinnedThumbprint }: SnapshotVerification): SnapshotClaims {
  if (jws.length > maxJwsBytes) throw invalid('the policy snapshot is longer than 8 KiB');
  // RFC 7515 §5.2. Nothing of it is believed before its key is the pinned one and its signature holds.
  const [head = '', body = '', tail = '', extra] = jws.split('.');
  const isCompact = extra === undefined && [head, body, tail].every((part) => base64url.test(part));
  const header = isCompact ? readPart(head) : null;
  if (header === null) throw invalid('the policy snapshot is not a JWS');
  const { key, thumbprint } = importKey(header);
  if (thumbprint !== pinnedThumbprint) throw invalid('the policy snapshot is signed by another key');
  // Other algorithms, and critical extensions (§4.1.11), are not understood here.
  const isOurs = header.alg === 'ES256' && header.crit === undefined;
  const signature = Buffer.from(tail, 'base64url');
  const how = { key, dsaEncoding: 'ieee-p1363' as const };
  if (!isOurs || !verify('sha256', Buffer.from(`${head}.${body}`), how, signature))
    throw invalid('the signature of the policy snapshot does not verify');
  const claims = readPart(body);
  // A mode or a rule this version does not know is read as the stricter one.
  if (isClaims(claims)) {
    const stale = claims.stale === 'deny_sensitive' ? 'deny_sensitive' : 'deny_all';
    return { ...claims, mode: claims.mode === 'observe' ? 'observe' : 'enforce', stale };
  }
  throw invalid('the policy snapshot lacks a field');
}

/** The JSON object in a part of a JWS; null when there is none. */
function readPart(part: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
    return typeof value === 'object' ? (value as Record<string, unknown> | null) : null;
  } catch {
    return null;
  }
}

function importKey({ typ, jwk }: Record<string, unknown>) {
  if (typ !== type || !isP256PublicJwk(jwk))
    throw invalid('the policy snapshot has another type, or no public key');
  try {
    return importP256Jwk(jwk);
  } catch (cause) {
    throw invalid('the key of the policy snapshot is not a point of P-256', cause);
  }
}

function isClaims(value: unknown): value is SnapshotClaims {
  if (typeof value !== 'object' || value === null) return false;
  const { org, team, mode, version, hash, seq, stale, iat, exp } = value as Record<string, unknown>;
  return (
    [org, team, mode, hash, stale].every((field) => typeof field === 'string') &&
    [version, seq, iat, exp].every((field) => Number.isSafeInteger(field))
  );
}

const invalid = (message: string, cause?: unknown) =>
  new KontextError('KX_SNAPSHOT_INVALID', message, cause === undefined ? {} : { cause });
