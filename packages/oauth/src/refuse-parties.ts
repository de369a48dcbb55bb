import type { ActorFact, ExchangeParties, SubjectFact } from './exchange-facts.ts';
import {
  type ExchangeRefusal,
  type FailureReason,
  refusal,
  tokenExchangeGrantType,
} from './token-exchange.ts';

/** The first part of `decideExchange`: who may not exchange at all. Null when everybody may. */
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
