import { KontextError } from '@kontext/errors';
import { type AccessTokenClaims, type SubjectFact, verifyAccessToken } from '@kontext/oauth';
import { apiScope } from '../caller.ts';
import type { Callers } from '../login/callers.ts';
import type { ServerKeys } from '../login/server-keys.ts';
import { findMember } from '../store/queries/members.ts';
import type { Store } from '../store/store.ts';

/** What verifying a subject token needs. */
export interface SubjectDeps {
  readonly apiUrl: string;
  readonly issuer: string;
  readonly keys: Pick<ServerKeys, 'publicJwks'>;
  readonly callers: Pick<Callers, 'isGrantLive'>;
  readonly store: Store;
  readonly nowMs: () => number;
}

/** Who a subject token stands for; `claims` are there when it is valid. */
export type VerifiedSubject =
  | { readonly fact: Extract<SubjectFact, { state: 'valid' }>; readonly claims: AccessTokenClaims }
  | { readonly fact: Exclude<SubjectFact, { state: 'valid' }>; readonly claims: null };

/**
 * Verifies a subject token (RFC 8693 §2.1): ours, unexpired, its login not revoked, its user still a member.
 *
 * Not checked: that the sender holds its key; `decideExchange` compares the thumbprints.
 */
export async function verifySubject(deps: SubjectDeps, token: string): Promise<VerifiedSubject> {
  const { apiUrl: audience, issuer, keys } = deps;
  const verification = { token, issuer, audience, jwks: keys.publicJwks };
  let claims: AccessTokenClaims;
  try {
    claims = await verifyAccessToken({ ...verification, nowMs: deps.nowMs(), scope: apiScope });
  } catch (error) {
    if (!(error instanceof KontextError)) throw error;
    return { fact: { state: isExpired(error) ? 'expired' : 'foreign' }, claims: null };
  }
  const { sub, org, grantId, jkt } = claims;
  const member = await deps.store.transaction({ role: 'app', orgId: org }, (tx) => findMember(tx, sub));
  const live = member !== null && !member.disabled && (await deps.callers.isGrantLive(grantId, sub));
  return live ? { fact: { state: 'valid', jkt }, claims } : { fact: { state: 'revoked' }, claims: null };
}

const isExpired = ({ cause }: KontextError): boolean =>
  cause instanceof Error && 'code' in cause && cause.code === 'ERR_JWT_EXPIRED';
