import type { ProviderFact } from './exchange-facts.ts';
import { type ExchangeRefusal, refusal } from './token-exchange.ts';

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
