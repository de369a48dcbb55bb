/**
 * The one decision about a token exchange, for the token endpoint and for `ResolveCredentials` alike.
 *
 * Pure: everything it needs was loaded before. The order of checks is part of the contract, because the first refusal
 * is the answer: client → subject → actor → target known → target attached → delivery →
 * connection → kind → scope → policy → fresh login → approval.
 */
import {
  type ExchangeRefusal,
  type FailureReason,
  refusal,
  tokenExchangeGrantType,
} from './token-exchange.ts';

/** The subject token after it was looked at. `foreign`: not ours, malformed, or of another organisation. */
export type SubjectFact =
  | { readonly state: 'valid'; readonly jkt: string }
  | { readonly state: 'expired' | 'revoked' | 'foreign' };

/** The actor token after it was looked at; `mayAct`: whether the subject lets it act (RFC 8693 §4.4). */
export type ActorFact =
  | { readonly state: 'valid'; readonly jkt: string; readonly mayAct: boolean }
  | { readonly state: 'expired' | 'revoked' | 'foreign' };

/** Who takes part in an exchange: judged before any fact of an organisation is loaded. */
export interface ExchangeParties {
  readonly client: { readonly grantTypes: readonly string[] };
  readonly subject: SubjectFact;
  /** Null or left out: the request names no actor. */
  readonly actor?: ActorFact | null;
  /** Thumbprint of the key that sent the request; null when it sent no proof. */
  readonly proofJkt: string | null;
}

/** The provider the request names, as the organisation knows it. */
export interface ProviderFact {
  readonly id: string;
  readonly name: string;
  /** Whether it is attached to the agent that will hold the credential. */
  readonly attached: boolean;
  /** How old the login behind the request may be, in seconds; null when it does not matter. */
  readonly maxLoginAgeSeconds?: number | null;
  /** `user`: a person approves once per session before a credential leaves. */
  readonly approval?: 'none' | 'user';
}

/** What a credential is: a token the provider gave, a key somebody stored, or one made for this lease alone. */
export type ExchangedKind = 'oauth' | 'static' | 'minted';

/** The connection the request picks. */
export type ConnectionFact =
  | {
      readonly state: 'connected';
      readonly id: string;
      readonly kind: ExchangedKind;
      /**
       * What the user granted, or what may be minted; null when nobody said. Not looked at for a static key. A minted
       * credential can be narrowed within it, a granted token cannot.
       */
      readonly scopes: readonly string[] | null;
    }
  /** The provider wants the user again. */
  | { readonly state: 'reauth_required'; readonly id: string }
  /** Several fit; their names. */
  | { readonly state: 'ambiguous'; readonly names: readonly string[] };

/** All facts of one exchange. */
export interface ExchangeFacts extends ExchangeParties {
  /** Null when the organisation has no provider of that handle. */
  readonly provider: ProviderFact | null;
  /** Null when the user has no connection that fits. */
  readonly connection: ConnectionFact | null;
  readonly delivery: 'inject' | 'broker';
  /** Wanted scopes; empty means whatever may be had. */
  readonly scope: readonly string[];
  /** Kind the request insists on; null or left out: any. */
  readonly requestedKind?: 'oauth' | 'static' | null;
  readonly ceilings: ExchangeCeilings;
  /** What policy says and does; null when it does nothing. */
  readonly policy: {
    readonly effect: 'allow' | 'deny';
    readonly rule: string | null;
    /** For a person, one line; left out or empty: none. */
    readonly reason?: string;
  } | null;
  /** Longest life of a lease in seconds: the least of what agent, provider and subject allow, see {@link leaseCap}. */
  readonly leaseCapSeconds: number;
  /** Seconds since the person behind the login was authenticated; null or left out when nobody knows. */
  readonly loginAgeSeconds?: number | null;
  /** Whether a person approved this provider for this session. Looked at only where the provider wants it. */
  readonly approval?: ApprovalFact;
}

/** What a person said about the use of a provider in a session. */
export type ApprovalFact =
  | { readonly state: 'given' }
  | { readonly state: 'denied' }
  /** Asked, or still to be asked: then the caller makes the question and adds its members. */
  | { readonly state: 'pending'; readonly members: ExchangeRefusal['members'] };

/** Upper bounds on scopes; null means no bound. */
export interface ExchangeCeilings {
  /** Of the subject token, or of the lease that is narrowed. */
  readonly subject: readonly string[] | null;
  /** Of the provider's attachment to the agent. */
  readonly attachment?: readonly string[] | null;
  /** Of the agent for every provider. */
  readonly agent: readonly string[] | null;
}

/** Go: commit a pending lease, then mint or fetch. */
export interface ExchangeGranted {
  readonly ok: true;
  readonly connectionId: string;
  readonly kind: ExchangedKind;
  /** What the credential may do; empty when it cannot be said. */
  readonly scope: readonly string[];
  /** Bound on `expires_in`, see {@link leaseSeconds}; null for a static key. */
  readonly expiresInCapSeconds: number | null;
}

/** Decides one exchange. Total: never throws. */
export function decideExchange(facts: ExchangeFacts): ExchangeGranted | ExchangeRefusal {
  return refuseParties(facts) ?? refuseTarget(facts) ?? decideConnection(facts);
}

/** The first part of {@link decideExchange}: who may not exchange at all. Null when everybody may. */
export function refuseParties(parties: ExchangeParties): ExchangeRefusal | null {
  const { actor, proofJkt } = parties;
  return (
    refuseClient(parties) ??
    refuseToken('subject', parties.subject, proofJkt) ??
    (actor ? (refuseToken('actor', actor, proofJkt) ?? refuseActing(actor)) : null)
  );
}

function refuseClient({ client }: ExchangeParties): ExchangeRefusal | null {
  if (client.grantTypes.includes(tokenExchangeGrantType)) return null;
  return refusal('KX_FORBIDDEN', 'unauthorized_client', null, 'the client may not exchange tokens');
}

function refuseToken(
  what: 'subject' | 'actor',
  token: SubjectFact | ActorFact,
  proofJkt: string | null,
): ExchangeRefusal | null {
  const refuse = (reason: FailureReason | null, message: string) =>
    refusal('KX_SUBJECT_INVALID', 'invalid_request', reason, `the ${what} token ${message}`);
  switch (token.state) {
    case 'expired':
      return refuse('subject_token_expired', 'has expired');
    case 'revoked':
      return refuse('subject_token_revoked', 'was revoked');
    case 'foreign':
      return refuse(null, 'is not one of ours');
    case 'valid':
      // RFC 9449 §5: a bound token is worth nothing without a proof of its key.
      return token.jkt === proofJkt ? null : refuse(null, 'is bound to another key');
  }
}

function refuseActing(actor: ActorFact): ExchangeRefusal | null {
  if (actor.state !== 'valid' || actor.mayAct) return null;
  const message = 'the actor may not act for the subject (may_act)';
  return refusal('KX_SUBJECT_INVALID', 'invalid_request', null, message);
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

type Connected = Extract<ConnectionFact, { state: 'connected' }>;

/** RFC 8693 §2.1: another type than the one asked for is no answer. A minted credential has the type of a token. */
function refuseKind({ requestedKind }: ExchangeFacts, { kind }: Connected): ExchangeRefusal | null {
  if (!requestedKind || (requestedKind === 'static') === (kind === 'static')) return null;
  const message = 'requested_token_type is not what this provider gives';
  return refusal('KX_EXCHANGE_REFUSED', 'invalid_request', null, message);
}

function refuseScope(facts: ExchangeFacts, connection: Connected): ExchangeRefusal | null {
  const excess = facts.scope.filter((scope) => !isWithin(scope, boundsOf(facts, connection)));
  if (excess.length > 0)
    return refusal('KX_SCOPE_EXCEEDED', 'invalid_scope', null, 'the scope is beyond what may be had', {
      scope: excess.join(' '),
    });
  if (connection.kind === 'minted') return null;
  // What is handed out has all the rights it was granted, whatever was asked for: it must fit under every ceiling as it is.
  const { subject, attachment = null, agent } = facts.ceilings;
  const isStatic = connection.kind === 'static';
  const ceilings = [subject, attachment, isStatic ? null : agent].filter((ceiling) => ceiling !== null);
  if (ceilings.length === 0) return null;
  const rights = isStatic ? null : connection.scopes;
  const beyond = rights?.filter((scope) => !isWithin(scope, ceilings));
  if (beyond?.length === 0) return null;
  const name = facts.provider?.name ?? 'the provider';
  const what = isStatic ? 'key' : 'token';
  const message = `the ${what} of ${name} cannot be narrowed to what may be had`;
  return refusal('KX_SCOPE_EXCEEDED', 'invalid_scope', null, message, { scope: beyond?.join(' ') ?? '' });
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
  const scope = facts.scope.length > 0 ? facts.scope : whateverMayBeHad(boundsOf(facts, connection));
  const expiresInCapSeconds = kind === 'static' ? null : facts.leaseCapSeconds;
  return { ok: true, connectionId, kind, scope, expiresInCapSeconds };
}

/** How the person may be authenticated, best first. */
const acrValues = 'urn:kontext:acr:browser urn:kontext:acr:device';

const boundsOf = ({ ceilings }: ExchangeFacts, { kind, scopes }: Connected): Bounds => [
  ...[ceilings.subject, ceilings.attachment ?? null, ceilings.agent],
  // Nobody can narrow a static key: any wanted scope is beyond it.
  kind === 'static' ? [] : scopes,
];

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
 * Longest life of a lease in seconds: the least of all that bound it.
 *
 * @param providerTtlSeconds What the provider's entry says; 0 means nothing.
 * @param subjectLeftSeconds What the token or lease it is exchanged from has left; null means no bound.
 */
export function leaseCap(
  agentMaxSeconds: number,
  providerTtlSeconds: number,
  subjectLeftSeconds: number | null,
): number {
  const provider = providerTtlSeconds > 0 ? providerTtlSeconds : agentMaxSeconds;
  return Math.max(0, Math.min(agentMaxSeconds, provider, subjectLeftSeconds ?? agentMaxSeconds));
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
