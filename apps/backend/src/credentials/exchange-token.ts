import { KontextError } from '@kontext/errors';
import {
  type ExchangeHttpAnswer,
  type ExchangeRefusal,
  encodeExchangeError,
  encodeExchangeResponse,
  parseTokenExchangeRequest,
  refusalOf,
  refuseParties,
  type TokenExchangeRequest,
  tokenExchangeGrantType,
} from '@kontext/oauth';
import { delegateToken } from './delegate-token.ts';
import { sessionOf, sourceOf } from './delegation-source.ts';
import { exchangeCredentials } from './exchange-credentials.ts';
import type { ExchangeDeps } from './exchange-request.ts';
import { makeRefusal, type Outcome } from './outcome.ts';
import {
  type Subject,
  type SubjectDeps,
  type UnrecordedProof,
  verifyActor,
  verifySubject,
} from './verify-subject.ts';

/** A request at the token endpoint, after client and DPoP proof were looked at. */
export interface TokenRequest {
  readonly params: Readonly<Record<string, string>>;
  /** The proof that came with it, its replay not yet looked at; null when none did. */
  readonly proof: UnrecordedProof | null;
}

/**
 * Answers a token exchange (RFC 8693 §2.2) by the table of identity.md §3.
 *
 * A token that is refused is not recorded: whose it is was not established.
 *
 * @throws KontextError `KX_UNAUTHENTICATED` when the proof was used before; whatever is not a refusal.
 */
export async function exchangeToken(
  deps: ExchangeDeps & SubjectDeps,
  { params, proof }: TokenRequest,
): Promise<ExchangeHttpAnswer> {
  try {
    const request = parseTokenExchangeRequest(params);
    const parties = await judgeParties(deps, request, proof);
    if (!parties.ok) return encodeExchangeError(parties);
    const outcome = await exchange(deps, request, parties.subject);
    if (!outcome.ok) return encodeExchangeError(outcome.refusal, outcome.retryAfterSeconds ?? undefined);
    const { value, kind, expiresInSeconds } = outcome;
    return encodeExchangeResponse({ token: value.reveal(), kind, scope: outcome.scopes, expiresInSeconds });
  } catch (error) {
    return encodeExchangeError(toRefusal(error));
  }
}

/** The decision about the parties: no fact of an organisation is needed, none is loaded. */
async function judgeParties(
  deps: SubjectDeps,
  { subjectToken, actorToken, sessionId }: TokenExchangeRequest,
  proof: UnrecordedProof | null,
): Promise<{ readonly ok: true; readonly subject: Subject } | ExchangeRefusal> {
  const { fact, subject } = await verifySubject(deps, subjectToken, proof);
  const actor =
    subject === null || actorToken === null
      ? null
      : await verifyActor(deps, actorToken, subject, sessionOf(subject.caller, sessionId));
  const client = { grantTypes: [tokenExchangeGrantType] };
  const refused = refuseParties({ client, subject: fact, actor, proofJkt: proof?.jkt ?? null });
  if (refused !== null) return refused;
  if (subject === null) throw new KontextError('KX_INTERNAL', 'a refused subject was granted');
  return { ok: true, subject };
}

async function exchange(
  deps: ExchangeDeps & SubjectDeps,
  { target, scope: scopes, sessionId: asked, requestedKind }: TokenExchangeRequest,
  { caller, claims }: Subject,
): Promise<Outcome> {
  const sessionId = sessionOf(caller, asked);
  if (target.kind === 'resource') {
    if (target.uri !== deps.apiUrl || requestedKind === 'static') throw unknownResource();
    return (await delegateToken(deps, { caller, claims, sessionId, scopes, ttlSeconds: null })).outcome;
  }
  const { provider, resource } = target;
  const { outcomes } = await exchangeCredentials(deps, {
    ...{ caller, sessionId, channel: 'exchange', dryRun: false },
    source: caller.delegation ? sourceOf(caller.delegation) : null,
    wanted: [{ provider, resource, scopes, delivery: 'inject', requestedKind }],
  });
  const [outcome] = outcomes;
  if (outcome === undefined) throw new KontextError('KX_INTERNAL', 'the exchange has no outcome');
  return outcome;
}

/** RFC 8707 §2: only our own API is known here. */
const unknownResource = () =>
  new KontextError('KX_EXCHANGE_REFUSED', 'the resource is not known here', {
    details: { oauth_error: 'invalid_target', failure_reason: 'unknown_provider_handle' },
  });

function toRefusal(error: unknown): ExchangeRefusal {
  const refusal = refusalOf(error);
  if (refusal !== null) return refusal;
  if (!(error instanceof KontextError)) throw error;
  switch (error.code) {
    case 'KX_SUBJECT_INVALID':
      return makeRefusal(error.code, 'invalid_request', 'subject_token_revoked', error.message);
    case 'KX_NOT_FOUND':
    case 'KX_SESSION_ENDED':
    case 'KX_AGENT_UNKNOWN':
    case 'KX_AGENT_DISABLED':
    case 'KX_REQUEST_INVALID':
      return makeRefusal(error.code, 'invalid_request', null, error.message);
    case 'KX_STORE_UNREACHABLE':
    case 'KX_TEMPORARY':
      return makeRefusal(error.code, 'temporarily_unavailable', 'transient_exchange_error', error.message);
    default:
      throw error;
  }
}
