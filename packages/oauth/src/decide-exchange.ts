/**
 * The one decision about a token exchange, for the token endpoint and for `ResolveCredentials` alike.
 *
 * Pure: everything it needs was loaded before. The order of checks is part of the contract, because the first refusal
 * is the answer: client → subject → actor → target known → target attached → delivery →
 * connection → kind → scope → policy → fresh login → approval.
 */
import type { Connected, ExchangedKind, ExchangeFacts, ProviderFact } from './exchange-facts.ts';
import { refuseParties } from './refuse-parties.ts';
import { refuseDisconnected } from './refuse-upstream.ts';
import { grantedScope, refuseScope } from './scope-bounds.ts';
import { type ExchangeRefusal, refusal } from './token-exchange.ts';

/** Go: commit a pending lease, then mint or fetch. */
export interface ExchangeGranted {
  readonly ok: true;
  readonly connectionId: string;
  readonly kind: ExchangedKind;
  /** What the credential may do; empty when it cannot be said. */
  readonly scope: readonly string[];
  /** Bound on `expires_in`, see `leaseSeconds`; null for a static key. */
  readonly expiresInCapSeconds: number | null;
}

/** Decides one exchange. Total: never throws. */
export function decideExchange(facts: ExchangeFacts): ExchangeGranted | ExchangeRefusal {
  return refuseParties(facts) ?? refuseTarget(facts) ?? decideConnection(facts);
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
  const { provider, connection } = facts;
  if (!provider || !connection) return refuseDisconnected(provider);
  if (connection.state === 'reauth_required') return refuseDisconnected(provider, 'reauth_required');
  if (connection.state === 'ambiguous')
    return refusal(
      'KX_CONNECTION_AMBIGUOUS',
      'invalid_target',
      null,
      `several connections of ${provider.name} fit: ${connection.names.join(', ')}`,
    );
  return (
    refuseKind(facts, connection) ??
    refuseScope(facts, connection) ??
    refusePolicy(facts, provider) ??
    refuseLogin(facts, provider) ??
    refuseApproval(facts, provider) ??
    grant(facts, connection)
  );
}

/** RFC 8693 §2.1: another type than the one asked for is no answer. A minted credential has the type of a token. */
function refuseKind({ requestedKind }: ExchangeFacts, { kind }: Connected): ExchangeRefusal | null {
  if (!requestedKind || (requestedKind === 'static') === (kind === 'static')) return null;
  const message = 'requested_token_type is not what this provider gives';
  return refusal('KX_EXCHANGE_REFUSED', 'invalid_request', null, message);
}

function refusePolicy({ policy }: ExchangeFacts, { name }: ProviderFact): ExchangeRefusal | null {
  if (policy?.effect !== 'deny') return null;
  const members = policy.rule === null ? {} : { policy_id: policy.rule };
  const message = `policy forbids ${name}${policy.reason ? `: ${policy.reason}` : ''}`;
  return refusal('KX_POLICY_DENIED', 'invalid_target', 'policy_denied', message, members);
}

/** RFC 9470 §3. */
function refuseLogin({ loginAgeSeconds = null }: ExchangeFacts, provider: ProviderFact) {
  const { name, maxLoginAgeSeconds: maxAge = null } = provider;
  if (maxAge === null || (loginAgeSeconds !== null && loginAgeSeconds <= maxAge)) return null;
  const message = `${name} wants a login that is at most ${maxAge} s old`;
  const members = { acr_values: acrValues, max_age: maxAge };
  return refusal('KX_LOGIN_TOO_OLD', 'insufficient_user_authentication', null, message, members);
}

/** CIBA Core §11: a person has to agree first. */
function refuseApproval({ approval }: ExchangeFacts, { name, approval: wanted }: ProviderFact) {
  if (wanted !== 'user' || approval?.state === 'given') return null;
  if (approval?.state === 'denied')
    return refusal('KX_POLICY_DENIED', 'invalid_target', 'policy_denied', `a person refused ${name}`);
  const message = `a person has to approve the use of ${name}`;
  return refusal('KX_APPROVAL_PENDING', 'authorization_pending', null, message, approval?.members ?? {});
}

function grant(facts: ExchangeFacts, connection: Connected): ExchangeGranted {
  const { id: connectionId, kind } = connection;
  const scope = grantedScope(facts, connection);
  const expiresInCapSeconds = kind === 'static' ? null : facts.leaseCapSeconds;
  return { ok: true, connectionId, kind, scope, expiresInCapSeconds };
}

/** How the person may be authenticated, best first. */
const acrValues = 'urn:kontext:acr:browser urn:kontext:acr:device';
