/**
 * Delegation tokens: access tokens of ours that say who acts (RFC 8693 §4.1) and what for.
 *
 * Their scopes have two forms, `credential:<provider>` and `credential:<provider>:<scope>`: the bearer may resolve
 * credentials of that provider, all that the session may have or that one scope. Since a provider's name holds no colon,
 * whatever follows the second one is the provider's own scope, colons included (`credential:github:repo:status`).
 *
 * A further exchange can only take away: scopes out of those the subject has, an earlier end, one more link in the chain.
 */
import { type ActClaim, maxActDepth } from './access-token.ts';
import { signJws } from './es256-jws.ts';
import type { P256PrivateJwk } from './p256-jwk.ts';
import { type ExchangeRefusal, refusal } from './token-exchange.ts';

/** Longest life of a delegation token in seconds (identity.md §3). */
export const maxDelegationSeconds = 300;

const credentialScope = /^credential:([a-z0-9][a-z0-9-]{0,62})(?::(.+))?$/;

/** A scope of a delegation token taken apart; `scope` null: all that the session may have. */
export interface CredentialScope {
  readonly provider: string;
  readonly scope: string | null;
}

/** Takes a scope apart; null when it is none of a delegation token. */
export function parseCredentialScope(text: string): CredentialScope | null {
  const [, provider, scope] = credentialScope.exec(text) ?? [];
  return provider === undefined ? null : { provider, scope: scope ?? null };
}

/**
 * What the scopes of a delegation token leave of one provider.
 *
 * @returns `all`, the provider's scopes that are left, or `nothing`.
 */
export function scopesLeftOf(
  held: readonly string[],
  provider: string,
): 'all' | 'nothing' | readonly string[] {
  const parsed = held.map(parseCredentialScope).filter((one) => one?.provider === provider);
  if (parsed.length === 0) return 'nothing';
  if (parsed.some((one) => one?.scope === null)) return 'all';
  return parsed.flatMap((one) => (one?.scope ? [one.scope] : []));
}

/** All facts of one delegation. Subject, actor and key were judged before. */
export interface DelegationFacts {
  readonly subject: {
    /** Scopes of a delegation token; null for a login, which may delegate all that the agent may have. */
    readonly scope: readonly string[] | null;
    /** Its chain; null for a login. */
    readonly act: ActClaim | null;
    /** Seconds the subject has left; a login's token is renewed and sets no bound (null). */
    readonly leftSeconds: number | null;
  };
  /** The principal that will act: the agent, `agt_…`. */
  readonly actor: string;
  /** Wanted scopes; empty means all that may be had. */
  readonly wanted: readonly string[];
  /** Wanted life in seconds; null means as long as may be had. */
  readonly wantedSeconds: number | null;
  /** Providers attached to the agent with their ceiling, null where there is none. */
  readonly attached: ReadonlyMap<string, readonly string[] | null>;
  readonly agent: { readonly ceilingScopes: readonly string[] | null; readonly maxTtlSeconds: number };
}

/** Go: store the lease, then sign. */
export interface DelegationGranted {
  readonly ok: true;
  readonly scope: readonly string[];
  readonly expiresInSeconds: number;
  readonly act: ActClaim;
  /** Exchanges above and including this one, 1 to 8. */
  readonly depth: number;
}

/** Decides one delegation, in this order: depth → scope → life. Total: never throws. */
export function decideDelegation(facts: DelegationFacts): DelegationGranted | ExchangeRefusal {
  const { subject, actor, wanted, agent } = facts;
  const depth = depthOf(subject.act) + 1;
  if (depth > maxActDepth)
    return refusal(
      'KX_EXCHANGE_REFUSED',
      'invalid_request',
      null,
      `the act chain would be deeper than ${maxActDepth}`,
    );
  const scope = wanted.length > 0 ? wanted : whatMayBeHad(facts);
  const excess = scope.filter((one) => !mayDelegate(one, facts));
  if (excess.length > 0 || scope.length === 0)
    return refusal('KX_SCOPE_EXCEEDED', 'invalid_scope', null, 'the scope is beyond what may be delegated', {
      scope: excess.join(' '),
    });
  const bounds = [maxDelegationSeconds, agent.maxTtlSeconds, facts.wantedSeconds, subject.leftSeconds];
  const expiresInSeconds = Math.floor(Math.min(...bounds.filter((bound) => bound !== null)));
  if (expiresInSeconds < 1)
    return refusal(
      'KX_SUBJECT_INVALID',
      'invalid_request',
      'subject_token_expired',
      'the subject token has expired',
    );
  const act = subject.act === null ? { sub: actor } : { sub: actor, act: subject.act };
  return { ok: true, scope, expiresInSeconds, act, depth };
}

/** Links of a chain. */
export function depthOf(act: ActClaim | null | undefined): number {
  let depth = 0;
  for (let link = act; link; link = link.act) depth += 1;
  return depth;
}

const whatMayBeHad = ({ subject, attached }: DelegationFacts): readonly string[] =>
  subject.scope ?? [...attached.keys()].map((provider) => `credential:${provider}`);

function mayDelegate(text: string, { subject, attached, agent }: DelegationFacts): boolean {
  const wanted = parseCredentialScope(text);
  if (wanted === null || !attached.has(wanted.provider)) return false;
  const { provider, scope } = wanted;
  const held = subject.scope === null ? 'all' : scopesLeftOf(subject.scope, provider);
  if (held === 'nothing') return false;
  if (scope === null) return held === 'all';
  const bounds = [held === 'all' ? null : held, attached.get(provider) ?? null, agent.ceilingScopes];
  return bounds.every((bound) => bound === null || bound.includes(scope));
}

/** What a delegation token says (RFC 9068 §2.2, RFC 8693 §4). */
export interface DelegationClaims {
  readonly issuer: string;
  readonly audience: string;
  readonly sub: string;
  readonly org: string;
  readonly clientId: string;
  readonly grantId: string;
  readonly jti: string;
  readonly jkt: string;
  readonly sid: string;
  readonly txn: string;
  readonly scope: readonly string[];
  readonly act: ActClaim;
  readonly issuedAtMs: number;
  readonly expiresInSeconds: number;
}

/** Signs a delegation token: RFC 9068 JWT, ES256, one audience, bound to a key (RFC 9449 §6). */
export function signDelegationToken(
  claims: DelegationClaims,
  key: P256PrivateJwk & { readonly kid: string },
): string {
  const { issuer: iss, audience: aud, clientId, grantId: gid, jkt, act, scope, issuedAtMs } = claims;
  const { sub, org, jti, sid, txn } = claims;
  const iat = Math.floor(issuedAtMs / 1000);
  const payload = {
    ...{ iss, aud, sub, org, client_id: clientId, scope: scope.join(' '), jti, gid, sid, txn },
    ...{ iat, exp: iat + claims.expiresInSeconds, act, may_act: { sub: act.sub }, cnf: { jkt } },
  };
  return signJws({ alg: 'ES256', typ: 'at+jwt', kid: key.kid }, payload, key);
}
