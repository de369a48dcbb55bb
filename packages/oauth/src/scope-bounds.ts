import type { Connected, ExchangeFacts } from './exchange-facts.ts';
import { type ExchangeRefusal, refusal } from './token-exchange.ts';

/** Whether all that is handed out stays under every ceiling; null when it does. */
export function refuseScope(facts: ExchangeFacts, connection: Connected): ExchangeRefusal | null {
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

/** What a granted exchange may do: what was asked for, or else all that may be had (RFC 6749 §3.3). */
export const grantedScope = (facts: ExchangeFacts, connection: Connected): readonly string[] =>
  facts.scope.length > 0 ? facts.scope : whateverMayBeHad(boundsOf(facts, connection));

const boundsOf = ({ ceilings }: ExchangeFacts, { kind, scopes }: Connected): Bounds => [
  ...[ceilings.subject, ceilings.attachment ?? null, ceilings.agent],
  // Nobody can narrow a static key: any wanted scope is beyond it.
  kind === 'static' ? [] : scopes,
];

type Bounds = readonly (readonly string[] | null)[];

const isWithin = (scope: string, bounds: Bounds): boolean =>
  bounds.every((bound) => bound === null || bound.includes(scope));

/** Everything within all bounds. */
function whateverMayBeHad(bounds: Bounds): readonly string[] {
  const narrowest = bounds.findLast((bound) => bound !== null) ?? [];
  return narrowest.filter((scope) => isWithin(scope, bounds));
}
