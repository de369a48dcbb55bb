/**
 * Token exchange on the wire (RFC 8693): what may be asked at the token endpoint, and what is answered.
 *
 * For now a request names one provider by `audience`; `resource`, actor tokens and authorization details are refused.
 */
import { type ErrorCode, KontextError } from '@kontext/errors';

/** RFC 8693 §2.1. */
export const tokenExchangeGrantType = 'urn:ietf:params:oauth:grant-type:token-exchange';
/** RFC 8693 §3: an OAuth access token. */
export const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token';
/** What a static key of a provider is issued as; RFC 8693 §3 leaves further types to their users. */
export const staticKeyTokenType = 'urn:kontext:params:oauth:token-type:static-key';

/** A well-formed exchange request. The subject token is not verified yet. */
export interface TokenExchangeRequest {
  readonly subjectToken: string;
  /** Handle of the provider: `audience` up to the first `/`. */
  readonly provider: string;
  /** Which connection of the provider: `audience` after the first `/`; empty when it names none. */
  readonly resource: string;
  /** Wanted scopes without repetitions; empty means whatever the connection gives. */
  readonly scope: readonly string[];
  /** Our session, `ses_…`; null when the exchange belongs to none. */
  readonly sessionId: string | null;
}

/** `error` of a refused exchange (RFC 6749 §5.2, RFC 8693 §2.2.2, RFC 9470 §3, CIBA Core §11). */
export type ExchangeErrorName =
  | 'invalid_request'
  | 'invalid_target'
  | 'invalid_scope'
  | 'unauthorized_client'
  | 'unsupported_grant_type'
  | 'insufficient_user_authentication'
  | 'authorization_pending'
  | 'temporarily_unavailable';

/** Extension member that tells programs why. */
export type FailureReason =
  | 'subject_token_expired'
  | 'subject_token_revoked'
  | 'unknown_provider_handle'
  | 'not_attached_to_application'
  | 'policy_denied'
  | 'disconnected_or_reauth_required'
  | 'transient_exchange_error';

/** Why an exchange is refused, for the token endpoint (`oauthError`) and for RPCs (`code`). */
export interface ExchangeRefusal {
  readonly ok: false;
  readonly code: ErrorCode;
  readonly oauthError: ExchangeErrorName;
  readonly failureReason: FailureReason | null;
  /** For a person, lower case, no full stop, no secret. */
  readonly message: string;
  /** Further extension members: `policy_id`, `provider_id`, `connect_uri`, `scope`, … */
  readonly members: Readonly<Record<string, string | number>>;
}

/** An answer of the token endpoint, to be sent as it is. */
export interface ExchangeHttpAnswer {
  readonly status: number;
  /** Lower-case names; always `cache-control: no-store` (RFC 6749 §5.1). */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, string | number>>;
}

/** Parameters as a server framework gives them; a list means that one was repeated. */
export type ExchangeParams =
  | URLSearchParams
  | Readonly<Record<string, string | readonly string[] | undefined>>;

const maxTokenBytes = 8192;
const maxAudienceLength = 512;
const maxScopeLength = 4096;
/** RFC 6749 §3.3. */
const scopeToken = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

/**
 * Reads an exchange request (RFC 8693 §2.1).
 *
 * @param params The form's parameters. `grant_type` may be missing when the framework has already looked at it.
 * @throws KontextError `KX_EXCHANGE_REFUSED`; `details.oauth_error` is the wire name. {@link refusalOf} turns it into
 *   an answer.
 */
export function parseTokenExchangeRequest(params: ExchangeParams): TokenExchangeRequest {
  const one = singleValues(params);
  const grantType = one('grant_type');
  if (grantType !== null && grantType !== tokenExchangeGrantType)
    throw refuse('the grant type is not token exchange', 'unsupported_grant_type');
  checkUnsupported(one);
  const subjectToken = one('subject_token');
  if (subjectToken === null) throw refuse('subject_token is missing');
  if (subjectToken.length > maxTokenBytes) throw refuse('subject_token is longer than 8 KiB');
  if (one('subject_token_type') !== accessTokenType) throw refuse('subject_token_type is not access_token');
  const audience = one('audience');
  if (audience === null) throw refuse('audience is missing');
  if (audience.length > maxAudienceLength) throw refuse('audience is too long');
  const slash = audience.indexOf('/');
  return {
    subjectToken,
    provider: slash < 0 ? audience : audience.slice(0, slash),
    resource: slash < 0 ? '' : audience.slice(slash + 1),
    scope: parseScope(one('scope') ?? ''),
    sessionId: one('session_id'),
  };
}

/** Refused until later: exactly one target, and nothing that would be ignored silently. */
function checkUnsupported(one: (name: string) => string | null): void {
  const has = (name: string): boolean => one(name) !== null;
  if (has('audience') && has('resource')) throw refuse('audience and resource are both given');
  if (has('resource')) throw refuse('resource is not supported; name a provider by audience');
  // RFC 8693 §2.1: actor_token_type MUST NOT be included without actor_token; here neither may be.
  if (has('actor_token') || has('actor_token_type')) throw refuse('actor_token is not supported');
  if (has('authorization_details')) throw refuse('authorization_details is not supported');
  const requested = one('requested_token_type');
  if (requested !== null && requested !== accessTokenType)
    throw refuse('requested_token_type is not access_token');
}

/** RFC 6749 §3.2: no parameter twice, and one without a value counts as left out. */
function singleValues(params: ExchangeParams): (name: string) => string | null {
  const values = new Map<string, string>();
  const entries = params instanceof URLSearchParams ? [...params] : Object.entries(params);
  for (const [name, value] of entries) {
    if (value === undefined) continue;
    if (typeof value !== 'string' || values.has(name)) throw refuse(`${printable(name)} is repeated`);
    values.set(name, value);
  }
  return (name) => values.get(name) || null;
}

/**
 * Splits a scope parameter (RFC 6749 §3.3), without repetitions.
 *
 * @throws KontextError `KX_EXCHANGE_REFUSED` with `invalid_scope` when it is malformed or longer than 4 KiB.
 */
function parseScope(scope: string): readonly string[] {
  const parts = scope.split(' ').filter((part) => part !== '');
  if (scope.length > maxScopeLength || !parts.every((part) => scopeToken.test(part)))
    throw refuse('scope is malformed', 'invalid_scope');
  return [...new Set(parts)];
}

/** What an exchange gives. */
export interface IssuedToken {
  /** The upstream access token or the static key. */
  readonly token: string;
  readonly kind: 'oauth' | 'static';
  readonly scope: readonly string[];
  /** Whole seconds; ignored for a static key, which does not expire. */
  readonly expiresInSeconds: number | null;
}

/** The answer to a successful exchange (RFC 8693 §2.2.1). `N_A`: a static key is no access token. */
export function encodeExchangeResponse(issued: IssuedToken): ExchangeHttpAnswer {
  const { kind, scope, expiresInSeconds } = issued;
  const type =
    kind === 'static'
      ? { issued_token_type: staticKeyTokenType, token_type: 'N_A' }
      : { issued_token_type: accessTokenType, token_type: 'Bearer' };
  const expires = kind === 'static' || expiresInSeconds === null ? {} : { expires_in: expiresInSeconds };
  const granted = scope.length > 0 ? { scope: scope.join(' ') } : {};
  return {
    status: 200,
    headers: noStore,
    body: { access_token: issued.token, ...type, ...expires, ...granted },
  };
}

/**
 * The answer to a refused exchange (RFC 6749 §5.2, RFC 8693 §2.2.2).
 *
 * @param retryAfterSeconds For `temporarily_unavailable`: goes into `Retry-After`. Default 5.
 */
export function encodeExchangeError(refusal: ExchangeRefusal, retryAfterSeconds = 5): ExchangeHttpAnswer {
  const isDown = refusal.oauthError === 'temporarily_unavailable';
  const reason = refusal.failureReason === null ? {} : { failure_reason: refusal.failureReason };
  const body = {
    ...refusal.members,
    ...reason,
    error: refusal.oauthError,
    error_description: printable(refusal.message),
  };
  const headers = isDown ? { ...noStore, 'retry-after': String(Math.ceil(retryAfterSeconds)) } : noStore;
  return { status: isDown ? 503 : 400, headers, body };
}

/**
 * The refusal a thrown error stands for.
 *
 * @returns `invalid_request` and the like for errors of {@link parseTokenExchangeRequest}; null for any other error,
 *   which is a fault of ours.
 */
export function refusalOf(error: unknown): ExchangeRefusal | null {
  if (!(error instanceof KontextError) || error.code !== 'KX_EXCHANGE_REFUSED') return null;
  const oauthError = error.details.oauth_error as ExchangeErrorName;
  const { code, message } = error;
  return { ok: false, code, oauthError, failureReason: null, message, members: {} };
}

const noStore = { 'cache-control': 'no-store', pragma: 'no-cache' };

/** RFC 6749 §5.2: `error_description` holds no character outside %x20-21 / %x23-5B / %x5D-7E. */
const printable = (text: string): string => text.replace(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, "'");

const refuse = (message: string, oauthError: ExchangeErrorName = 'invalid_request') =>
  new KontextError('KX_EXCHANGE_REFUSED', message, { details: { oauth_error: oauthError } });
