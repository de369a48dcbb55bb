import { KontextError } from '@kontext/errors';
import { scopesLeftOf } from '@kontext/oauth';
import type { Caller, Delegation } from '../caller.ts';
import type { ExchangeSource } from './exchange-request.ts';

/** A delegation token as what credentials are exchanged from. */
export const sourceOf = ({ leaseId, act, scopes, expiresAtMs }: Delegation): ExchangeSource => ({
  ...{ leaseId, actor: act.sub, expiresAtMs },
  scopesLeftOf: (provider) => scopesLeftOf(scopes, provider),
});

/**
 * The session a request is about: a delegation token has its own, and cannot speak of another.
 *
 * @param asked As the request names it; null when it names none.
 * @throws KontextError `KX_NOT_FOUND` when a delegation token names another session.
 */
export function sessionOf({ delegation }: Pick<Caller, 'delegation'>, asked: string | null): string | null {
  if (!delegation) return asked;
  if (asked === null || asked === delegation.sessionId) return delegation.sessionId;
  throw new KontextError('KX_NOT_FOUND', 'there is no such session, or it is not yours');
}
