/**
 * Token exchange on the wire (RFC 8693): what may be asked at the token endpoint, and what is answered.
 *
 * A request names one provider by `audience`, or one resource server by `resource`. Authorization details are refused: no
 * type of them is known here (RFC 9396 §5).
 */
import { type ErrorCode, KontextError } from '@kontext/errors';

/** RFC 8693 §2.1. */
export const tokenExchangeGrantType = 'urn:ietf:params:oauth:grant-type:token-exchange';
/** RFC 8693 §3: an OAuth access token. */
export const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token';
/** What a static key of a provider is issued as; RFC 8693 §3 leaves further types to their users. */
export const staticKeyTokenType = 'urn:kontext:params:oauth:token-type:static-key';

/** What a token is wanted for: exactly one of them is named. */
export type ExchangeTarget =
  | {
      readonly kind: 'provider';
      /** Handle of the provider: `audience` up to the first `/`. */
      readonly provider: string;
      /** Which connection of the provider: `audience` after the first `/`; empty when it names none. */
      readonly resource: string;
    }
  /** An absolute URI without fragment (RFC 8707 §2). */
  | { readonly kind: 'resource'; readonly uri: string };

/** A well-formed exchange request. The tokens are not verified yet. */
export interface TokenExchangeRequest {
  readonly subjectToken: string;
  /** Who wants to act; null when the request does not say. */
  readonly actorToken: string | null;
  readonly target: ExchangeTarget;
  /** Wanted scopes without repetitions; empty means whatever may be had. */
  readonly scope: readonly string[];
  /** What kind of token must be issued; null leaves it to us (RFC 8693 §2.1). */
  readonly requestedKind: 'oauth' | 'static' | null;
  /** Our session, `ses_…`; null when the exchange belongs to none. */
  readonly sessionId: string | null;
}

/** `error` of a refused exchange (RFC 6749 §5.2, RFC 8693 §2.2.2, RFC 9396 §5, RFC 9470 §3, CIBA Core §11). */
export type ExchangeErrorName =
  | 'invalid_request'
  | 'invalid_target'
  | 'invalid_scope'
  | 'invalid_authorization_details'
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

/** Seconds a client waits for what is down for now, when nobody said better. */
export const defaultRetryAfterSeconds = 5;
const maxTokenBytes = 8192;
const maxTargetLength = 512;
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
  // RFC 9396 §5: a type that is not known is an error, never left out silently.
  if (one('authorization_details') !== null)
    throw refuse('authorization_details of no type are known', 'invalid_authorization_details');
  return {
    subjectToken: requireToken(one, 'subject_token'),
    actorToken: readActorToken(one),
    target: readTarget(one('audience'), one('resource')),
    scope: parseScope(one('scope') ?? ''),
    requestedKind: readRequestedKind(one('requested_token_type')),
    sessionId: one('session_id'),
  };
}

type Parameter = (name: string) => string | null;

function requireToken(one: Parameter, name: 'subject_token' | 'actor_token'): string {
  const token = one(name);
  if (token === null) throw refuse(`${name} is missing`);
  if (token.length > maxTokenBytes) throw refuse(`${name} is longer than 8 KiB`);
  if (one(`${name}_type`) !== accessTokenType) throw refuse(`${name}_type is not access_token`);
  return token;
}

/** RFC 8693 §2.1: `actor_token_type` is there when `actor_token` is, and only then. */
function readActorToken(one: Parameter): string | null {
  if (one('actor_token') !== null) return requireToken(one, 'actor_token');
  if (one('actor_token_type') !== null) throw refuse('actor_token_type stands without actor_token');
  return null;
}

function readTarget(audience: string | null, resource: string | null): ExchangeTarget {
  if (audience !== null && resource !== null) throw refuse('audience and resource are both given');
  const named = audience ?? resource;
  if (named === null) throw refuse('neither audience nor resource is given');
  if (named.length > maxTargetLength) throw refuse('the target is too long');
  if (audience === null) {
    if (!URL.canParse(named) || named.includes('#'))
      throw refuse('resource is no absolute URI without fragment', 'invalid_target');
    return { kind: 'resource', uri: named };
  }
  const slash = named.indexOf('/');
  return {
    kind: 'provider',
    provider: slash < 0 ? named : named.slice(0, slash),
    resource: slash < 0 ? '' : named.slice(slash + 1),
  };
}

function readRequestedKind(type: string | null): TokenExchangeRequest['requestedKind'] {
  if (type === null) return null;
  if (type === accessTokenType) return 'oauth';
  if (type === staticKeyTokenType) return 'static';
  throw refuse('requested_token_type is none that is issued here');
}

/** RFC 6749 §3.2: no parameter twice, and one without a value counts as left out. */
function singleValues(params: ExchangeParams): Parameter {
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
  /** The upstream access token, the static key, or a token of our own. */
  readonly token: string;
  /** `token`: one of our own, bound to the sender's key (RFC 9449 §5). */
  readonly kind: 'oauth' | 'static' | 'minted' | 'token';
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
      : { issued_token_type: accessTokenType, token_type: kind === 'token' ? 'DPoP' : 'Bearer' };
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
 * @param retryAfterSeconds For `temporarily_unavailable`: goes into `Retry-After`.
 */
export function encodeExchangeError(
  refusal: ExchangeRefusal,
  retryAfterSeconds = defaultRetryAfterSeconds,
): ExchangeHttpAnswer {
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
  const failureReason = (error.details.failure_reason ?? null) as FailureReason | null;
  return refusal(error.code, oauthError, failureReason, error.message);
}

/** Puts a refusal together. */
export const refusal = (
  code: ExchangeRefusal['code'],
  oauthError: ExchangeRefusal['oauthError'],
  failureReason: FailureReason | null,
  message: string,
  members: ExchangeRefusal['members'] = {},
): ExchangeRefusal => ({ ok: false, code, oauthError, failureReason, message, members });

const noStore = { 'cache-control': 'no-store', pragma: 'no-cache' };

/** RFC 6749 §5.2: `error_description` holds no character outside %x20-21 / %x23-5B / %x5D-7E. */
const printable = (text: string): string => text.replace(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, "'");

const refuse = (message: string, oauthError: ExchangeErrorName = 'invalid_request') =>
  new KontextError('KX_EXCHANGE_REFUSED', message, { details: { oauth_error: oauthError } });
