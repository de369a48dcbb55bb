/**
 * The one decision about a token exchange, for the token endpoint and for `ResolveCredentials` alike.
 *
 * Pure: everything it needs was loaded before. The order of checks is part of the contract, because the first refusal
 * is the answer: client → subject → (actor, refused while parsing) → target known → target attached → delivery →
 * connection → scope → policy.
 */
import { type ExchangeRefusal, type FailureReason, tokenExchangeGrantType } from './token-exchange.ts';

/** The subject token after it was looked at. `foreign`: not ours, malformed, or of another organisation. */
export type SubjectFact =
  | { readonly state: 'valid'; readonly jkt: string }
  | { readonly state: 'expired' | 'revoked' | 'foreign' };

/** The provider the request names, as the organisation knows it. */
export interface ProviderFact {
  readonly id: string;
  readonly name: string;
  /** Whether it is attached to the agent that will hold the credential. */
  readonly attached: boolean;
}

/** The connection the request picks. */
export type ConnectionFact =
  | {
      readonly state: 'connected';
      readonly id: string;
      readonly kind: 'oauth' | 'static';
      /** What the user granted; null when the provider never said. Not looked at for a static key. */
      readonly scopes: readonly string[] | null;
    }
  /** The provider wants the user again. */
  | { readonly state: 'reauth_required'; readonly id: string }
  /** Several fit; their names. */
  | { readonly state: 'ambiguous'; readonly names: readonly string[] };

/** All facts of one exchange. */
export interface ExchangeFacts {
  readonly client: { readonly grantTypes: readonly string[] };
  readonly subject: SubjectFact;
  /** Thumbprint of the key that sent the request; null when it sent no proof. */
  readonly proofJkt: string | null;
  /** Null when the organisation has no provider of that handle. */
  readonly provider: ProviderFact | null;
  /** Null when the user has no connection that fits. */
  readonly connection: ConnectionFact | null;
  readonly delivery: 'inject' | 'broker';
  /** Wanted scopes; empty means whatever may be had. */
  readonly scope: readonly string[];
  /** Upper bounds from the subject token and for the agent; null means no bound. */
  readonly ceilings: { readonly subject: readonly string[] | null; readonly agent: readonly string[] | null };
  /** What policy says; null while no policy speaks about credentials. */
  readonly policy: { readonly effect: 'allow' | 'deny'; readonly rule: string | null } | null;
  /** Longest life of a lease in seconds. */
  readonly leaseCapSeconds: number;
}

/** Go: commit a pending lease, then mint or fetch. */
export interface ExchangeGranted {
  readonly ok: true;
  readonly connectionId: string;
  readonly kind: 'oauth' | 'static';
  /** What the credential may do; empty when it cannot be said. */
  readonly scope: readonly string[];
  /** Bound on `expires_in`, see {@link leaseSeconds}; null for a static key. */
  readonly expiresInCapSeconds: number | null;
}

/** Decides one exchange. Total: never throws. */
export function decideExchange(facts: ExchangeFacts): ExchangeGranted | ExchangeRefusal {
  return refuseClient(facts) ?? refuseSubject(facts) ?? refuseTarget(facts) ?? decideConnection(facts);
}

function refuseClient({ client }: ExchangeFacts): ExchangeRefusal | null {
  if (client.grantTypes.includes(tokenExchangeGrantType)) return null;
  return refusal('KX_FORBIDDEN', 'unauthorized_client', null, 'the client may not exchange tokens');
}

function refuseSubject({ subject, proofJkt }: ExchangeFacts): ExchangeRefusal | null {
  const refuse = (reason: FailureReason | null, message: string) =>
    refusal('KX_SUBJECT_INVALID', 'invalid_request', reason, message);
  switch (subject.state) {
    case 'expired':
      return refuse('subject_token_expired', 'the subject token has expired');
    case 'revoked':
      return refuse('subject_token_revoked', 'the subject token was revoked');
    case 'foreign':
      return refuse(null, 'the subject token is not one of ours');
    case 'valid':
      // RFC 9449 §5: a bound token is worth nothing without a proof of its key.
      return subject.jkt === proofJkt ? null : refuse(null, 'the subject token is bound to another key');
  }
}

function refuseTarget({ provider, delivery }: ExchangeFacts): ExchangeRefusal | null {
  if (!provider)
    return refusal(
      'KX_PROVIDER_UNKNOWN',
      'invalid_target',
      'unknown_provider_handle',
      'the organisation has no such provider',
    );
  if (!provider.attached)
    return refusal(
      'KX_PROVIDER_NOT_ATTACHED',
      'invalid_target',
      'not_attached_to_application',
      `${provider.name} is not attached to this agent`,
    );
  if (delivery === 'broker')
    return refusal('KX_DELIVERY_UNSUPPORTED', 'invalid_request', null, 'broker delivery is not built yet');
  return null;
}

function decideConnection(facts: ExchangeFacts): ExchangeGranted | ExchangeRefusal {
  const { provider, connection, policy } = facts;
  if (!provider || !connection) return refuseDisconnected(provider);
  if (connection.state === 'reauth_required') return refuseDisconnected(provider, 'reauth_required');
  if (connection.state === 'ambiguous')
    return refusal(
      'KX_CONNECTION_AMBIGUOUS',
      'invalid_target',
      null,
      `several connections of ${provider.name} fit: ${connection.names.join(', ')}`,
    );
  const isStatic = connection.kind === 'static';
  // Nobody can narrow a static key: any wanted scope is beyond it.
  const bounds = [facts.ceilings.subject, facts.ceilings.agent, isStatic ? [] : connection.scopes];
  const excess = facts.scope.filter((scope) => !isWithin(scope, bounds));
  if (excess.length > 0)
    return refusal('KX_SCOPE_EXCEEDED', 'invalid_scope', null, 'the scope is beyond what may be had', {
      scope: excess.join(' '),
    });
  if (policy?.effect === 'deny')
    return refusal(
      'KX_POLICY_DENIED',
      'invalid_target',
      'policy_denied',
      `policy forbids ${provider.name}`,
      policy.rule === null ? {} : { policy_id: policy.rule },
    );
  return {
    ok: true,
    connectionId: connection.id,
    kind: connection.kind,
    scope: facts.scope.length > 0 ? facts.scope : whateverMayBeHad(bounds),
    expiresInCapSeconds: isStatic ? null : facts.leaseCapSeconds,
  };
}

type Bounds = readonly (readonly string[] | null)[];

const isWithin = (scope: string, bounds: Bounds): boolean =>
  bounds.every((bound) => bound === null || bound.includes(scope));

/** RFC 6749 §3.3: with no scope asked for, the default is everything within all bounds. */
function whateverMayBeHad(bounds: Bounds): readonly string[] {
  const narrowest = bounds.findLast((bound) => bound !== null) ?? [];
  return narrowest.filter((scope) => isWithin(scope, bounds));
}

/**
 * No usable connection. Also for an upstream that turns out to want the user again while a token is fetched.
 *
 * The caller adds `connect_uri` and `connect_expires_in` to `members` once it has made a connect link.
 */
export function refuseDisconnected(
  provider: Pick<ProviderFact, 'id' | 'name'> | null,
  why: 'missing' | 'reauth_required' = 'missing',
): ExchangeRefusal {
  const name = provider?.name ?? 'the provider';
  const reauth = why === 'reauth_required';
  return refusal(
    reauth ? 'KX_CONNECTION_REAUTH_REQUIRED' : 'KX_CONNECTION_MISSING',
    'invalid_target',
    'disconnected_or_reauth_required',
    reauth ? `${name} wants the user to log in again` : `${name} is not connected`,
    provider ? { provider_id: provider.id, provider_name: provider.name } : {},
  );
}

/** The upstream does not answer, or answers 5xx or 429: nothing is known about the connection. */
export function refuseUpstreamDown(provider: Pick<ProviderFact, 'name'>): ExchangeRefusal {
  return refusal(
    'KX_PROVIDER_UNREACHABLE',
    'temporarily_unavailable',
    'transient_exchange_error',
    `${provider.name} did not answer in time`,
  );
}

/**
 * How long an issued upstream token may be used, in whole seconds: its own rest less 30 s, at most the lease cap.
 *
 * @param upstreamLeftSeconds Counted from our own receive time; null when unknown, which is not infinite: the cap then.
 * @returns At least 0; at 0 the token must not be handed out.
 */
export function leaseSeconds(upstreamLeftSeconds: number | null, capSeconds: number): number {
  const left = upstreamLeftSeconds === null ? capSeconds : upstreamLeftSeconds - 30;
  return Math.max(0, Math.floor(Math.min(left, capSeconds)));
}

const refusal = (
  code: ExchangeRefusal['code'],
  oauthError: ExchangeRefusal['oauthError'],
  failureReason: FailureReason | null,
  message: string,
  members: ExchangeRefusal['members'] = {},
): ExchangeRefusal => ({ ok: false, code, oauthError, failureReason, message, members });
