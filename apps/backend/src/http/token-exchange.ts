import type { CredentialService } from '../credentials/credential-service.ts';
import type { TokenExchangeHandler } from './oauth/token-exchange-grant.ts';

/** The edge of the exchange at `/oauth/token`; client, proof and replay were checked before. */
export const tokenExchangeHandler =
  (credentials: Pick<CredentialService, 'exchangeToken'>): TokenExchangeHandler =>
  ({ params, jkt }) =>
    credentials.exchangeToken({ params, jkt });
