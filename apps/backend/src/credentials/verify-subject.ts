import { KontextError } from '@kontext/errors';
import {
  type AccessTokenClaims,
  type ActorFact,
  type SubjectFact,
  unauthenticated,
  verifyAccessToken,
} from '@kontext/oauth';
import { apiScope, type Caller, type Delegation } from '../caller.ts';
import type { Callers, TokenClaim } from '../login/callers.ts';
import type { ServerKeys } from '../login/server-keys.ts';

/** What verifying the tokens of an exchange needs. */
export interface SubjectDeps {
  readonly apiUrl: string;
  readonly issuer: string;
  readonly keys: Pick<ServerKeys, 'publicJwks' | 'signing'>;
  readonly callers: Pick<Callers, 'load' | 'recordProof' | 'isTokenLive'>;
  readonly nowMs: () => number;
}

/** A DPoP proof that holds and was not looked up yet. */
export interface UnrecordedProof {
  readonly jkt: string;
  readonly jti: string;
}

/** Who a valid subject token stands for. */
export interface Subject {
  readonly claims: AccessTokenClaims;
  readonly caller: Caller;
}

/** What came of it; `subject` is there when the token is valid and its key sent the request. */
export type VerifiedSubject =
  | { readonly fact: Extract<SubjectFact, { state: 'valid' }>; readonly subject: Subject | null }
  | { readonly fact: Exclude<SubjectFact, { state: 'valid' }>; readonly subject: null };

/**
 * Verifies a subject token (RFC 8693 §2.1): ours, unexpired, its login and itself not revoked, its user still a member. The proof
 * is remembered in the same statement.
 *
 * @throws KontextError `KX_UNAUTHENTICATED` when the proof was used before (RFC 9449 §11.1).
 */
export async function verifySubject(
  deps: SubjectDeps,
  token: string,
  proof: UnrecordedProof | null,
): Promise<VerifiedSubject> {
  const read = await readToken(deps, token);
  if ('fact' in read || read.claims.jkt !== proof?.jkt) {
    if (proof !== null && !(await deps.callers.recordProof(proof.jkt, proof.jti))) throw replayed();
    return 'fact' in read
      ? { fact: read.fact, subject: null }
      : { fact: { state: 'valid', jkt: read.claims.jkt }, subject: null };
  }
  const { claims } = read;
  const { org: orgId, jkt } = claims;
  const facts = await deps.callers.load({ ...claimOf(claims), orgId, jkt, proofId: proof.jti });
  if (facts === null) return { fact: { state: 'revoked' }, subject: null };
  if (!facts.proofIsNew) throw replayed();
  if (facts.userDisabled || !facts.grantIsLive || !facts.tokenIsLive)
    return { fact: { state: 'revoked' }, subject: null };
  const { userName, role, authAt, leaseId } = facts;
  const { sub: userId, grantId, authTime } = claims;
  const caller: Caller = {
    ...{ userId, userName, orgId, role, grantId, delegation: toDelegation(claims, leaseId) },
    authAt: authAt ?? (authTime === undefined ? null : new Date(authTime * 1000)),
  };
  return { fact: { state: 'valid', jkt }, subject: { claims, caller } };
}

/**
 * Verifies an actor token: a delegation token of ours that lives, and whose actor may act for the subject (RFC 8693 §4.4): the
 * same person's, in the same session, and the principal that the subject token names in `may_act`, where it names one.
 *
 * Not checked: that the sender holds its key; `refuseParties` compares the thumbprints.
 */
export async function verifyActor(
  deps: SubjectDeps,
  token: string,
  { claims: subject }: Subject,
  sessionId: string | null,
): Promise<ActorFact> {
  const read = await readToken(deps, token);
  if ('fact' in read) return read.fact;
  const { claims } = read;
  if (claims.act === undefined || claims.sub !== subject.sub || claims.org !== subject.org)
    return { state: 'foreign' };
  if (!(await deps.callers.isTokenLive(claimOf(claims)))) return { state: 'revoked' };
  const isNamed = subject.mayAct === undefined || subject.mayAct === claims.act.sub;
  return { state: 'valid', jkt: claims.jkt, mayAct: isNamed && claims.sid === sessionId };
}

async function readToken(
  { apiUrl: audience, issuer, keys, nowMs }: SubjectDeps,
  token: string,
): Promise<
  { readonly claims: AccessTokenClaims } | { readonly fact: { readonly state: 'expired' | 'foreign' } }
> {
  try {
    const expected = { issuer, audience, jwks: keys.publicJwks, nowMs: nowMs() };
    const claims = await verifyAccessToken({ token, ...expected });
    return isForUs(claims) ? { claims } : { fact: { state: 'foreign' } };
  } catch (error) {
    if (!(error instanceof KontextError)) throw error;
    return { fact: { state: isExpired(error) ? 'expired' : 'foreign' } };
  }
}

/** Whether a token was meant for our API: a person's by its scope, a delegation token by what it is. */
export const isForUs = ({ act, scope }: AccessTokenClaims): boolean =>
  act !== undefined || scope.split(' ').includes(apiScope);

/** What is asked about a verified token. */
export const claimOf = ({ sub, grantId, jti, act }: AccessTokenClaims): TokenClaim => ({
  ...{ userId: sub, grantId, jti, delegated: act !== undefined },
});

/**
 * The delegation a token stands for; null for a person's own.
 *
 * @throws KontextError `KX_UNAUTHENTICATED` when it says who acts and has no lease: it must never pass for a person's own.
 */
export function toDelegation(claims: AccessTokenClaims, leaseId: string | null): Delegation | null {
  const { act, sid, txn, scope, exp } = claims;
  if (act === undefined) return null;
  if (sid === undefined || txn === undefined || leaseId === null)
    throw unauthenticated('invalid_token', 'RFC 9068 §4', 'the delegation token has no lease');
  return { leaseId, sessionId: sid, scopes: scope.split(' '), act, txn, expiresAtMs: exp * 1000 };
}

const replayed = () =>
  unauthenticated('invalid_dpop_proof', 'RFC 9449 §11.1', 'the DPoP proof was used before');

const isExpired = ({ details }: KontextError): boolean => details.failure_reason === 'subject_token_expired';
