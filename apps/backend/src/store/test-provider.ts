import { createId } from '@kontext/audit';
import type { ProviderRow } from './queries/providers.ts';

/** A provider as a test needs it: OAuth 2, without endpoints, but for what is given. */
export const makeTestProvider = (
  given: Pick<ProviderRow, 'orgId' | 'name'> & Partial<ProviderRow>,
): ProviderRow => ({
  ...{ id: createId('prv'), kind: 'oauth2', catalogueId: '', issuer: '', settings: '{}' },
  ...{
    authorizationEndpoint: '',
    tokenEndpoint: '',
    revocationEndpoint: '',
    clientId: '',
    clientSecretId: null,
  },
  ...{ clientAuth: 'none', scopes: [], maxLoginAgeSeconds: null, approval: 'none', leaseTtlSeconds: 0 },
  callbackId: createId('prv'),
  createdAt: new Date(),
  ...given,
});
