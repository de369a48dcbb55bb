import { KontextError } from '@kontext/errors';
import {
  decideExchange,
  type ExchangeHttpAnswer,
  type ExchangeRefusal,
  encodeExchangeError,
  encodeExchangeResponse,
  parseTokenExchangeRequest,
  refusalOf,
  tokenExchangeGrantType,
} from '@kontext/oauth';
import { exchangeCredentials } from './exchange-credentials.ts';
import type { ExchangeDeps } from './exchange-request.ts';
import { makeRefusal } from './outcome.ts';
import { type SubjectDeps, verifySubject } from './verify-subject.ts';

/** A request at the token endpoint, after client and DPoP proof were looked at. */
export interface TokenRequest {
  readonly params: Readonly<Record<string, string>>;
  /** Thumbprint of the key that proved itself; null when none did. */
  readonly jkt: string | null;
}

/**
 * Answers a token exchange (RFC 8693 §2.2) by the table of identity.md §3.
 *
 * A subject token that is refused is not recorded: whose it is was not established.
 */
export async function exchangeToken(
  deps: ExchangeDeps & SubjectDeps,
  { params, jkt }: TokenRequest,
): Promise<ExchangeHttpAnswer> {
  try {
    const request = parseTokenExchangeRequest(params);
    const subject = await verifySubject(deps, request.subjectToken);
    if (subject.claims === null || subject.fact.jkt !== jkt) return refuseSubject(subject.fact, jkt);
    const { sub: userId, org: orgId } = subject.claims;
    const { provider, resource, scope: scopes, sessionId } = request;
    const { outcomes } = await exchangeCredentials(deps, {
      ...{ caller: { userId, orgId }, sessionId, channel: 'exchange', dryRun: false },
      wanted: [{ provider, resource, scopes, delivery: 'inject' }],
    });
    const [outcome] = outcomes;
    if (outcome === undefined) throw new KontextError('KX_INTERNAL', 'the exchange has no outcome');
    if (!outcome.ok) return encodeExchangeError(outcome.refusal, outcome.retryAfterSeconds ?? undefined);
    const { value, kind, expiresInSeconds } = outcome;
    return encodeExchangeResponse({ token: value.reveal(), kind, scope: outcome.scopes, expiresInSeconds });
  } catch (error) {
    return encodeExchangeError(toRefusal(error));
  }
}

/** The decision stops at the subject: no fact of an organisation is needed, none is loaded. */
function refuseSubject(subject: Parameters<typeof decideExchange>[0]['subject'], proofJkt: string | null) {
  const decision = decideExchange({
    ...{
      client: { grantTypes: [tokenExchangeGrantType] },
      subject,
      proofJkt,
      provider: null,
      connection: null,
    },
    ...{ delivery: 'inject', scope: [], ceilings: { subject: null, agent: null }, policy: null },
    leaseCapSeconds: 0,
  });
  if (decision.ok) throw new KontextError('KX_INTERNAL', 'a refused subject was granted');
  return encodeExchangeError(decision);
}

function toRefusal(error: unknown): ExchangeRefusal {
  const refusal = refusalOf(error);
  if (refusal !== null) return refusal;
  if (!(error instanceof KontextError)) throw error;
  switch (error.code) {
    case 'KX_NOT_FOUND':
    case 'KX_SESSION_ENDED':
    case 'KX_AGENT_UNKNOWN':
    case 'KX_REQUEST_INVALID':
      return makeRefusal(error.code, 'invalid_request', null, error.message);
    case 'KX_STORE_UNREACHABLE':
    case 'KX_TEMPORARY':
      return makeRefusal(error.code, 'temporarily_unavailable', 'transient_exchange_error', error.message);
    default:
      throw error;
  }
}
