import type { CredentialService } from '../credentials/credential-service.ts';
import type { TokenExchangeHandler } from './oauth/token-exchange-grant.ts';

/** The edge of the exchange at `/oauth/token`; client and proof were checked before, replay is checked with the subject. */
export const tokenExchangeHandler =
  (credentials: Pick<CredentialService, 'exchangeToken'>): TokenExchangeHandler =>
  ({ params, proof }) =>
    credentials.exchangeToken({ params, proof });
