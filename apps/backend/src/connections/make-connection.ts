import { createId } from '@kontext/audit';
import type { ConnectionRow } from '../store/queries/connections.ts';
import type { ProviderRow } from '../store/queries/providers.ts';

/** A pending connection without secret. */
export const makeConnection = (
  { id: providerId, orgId }: ProviderRow,
  userId: string | null,
  name: string,
  now: Date,
): ConnectionRow => ({
  ...{ id: createId('con', now.getTime()), orgId, providerId, userId, name, state: 'pending', scopes: [] },
  ...{ secretId: null, version: 0, accessExpiresAt: null, account: null, failure: null, createdAt: now },
  ...{ refreshStartedAt: null, connectedAt: null, lastUsedAt: null, revokedAt: null, metadata: '{}' },
});
