import { createId } from '@kontext/audit';
import type { LeaseRow } from './queries/leases.ts';

/** A lease as a test needs it: active, of an OAuth provider named `github`, outside of any session, but for what is given. */
export const makeTestLease = (
  given: Pick<LeaseRow, 'orgId' | 'userId' | 'createdAt'> & Partial<LeaseRow>,
): LeaseRow => ({
  ...{ id: createId('lea'), state: 'active', kind: 'oauth', jti: null, parentLeaseId: null, sessionId: null },
  ...{ connectionId: null, providerId: null, provider: 'github', agentId: null, subject: given.userId },
  ...{
    actor: null,
    audience: 'github',
    scope: [],
    delivery: 'inject',
    plannedName: null,
    renewsLeaseId: null,
  },
  ...{
    depth: 0,
    resource: '',
    secretId: null,
    revocation: 'none',
    revocationAttempts: 0,
    revocationDueAt: null,
  },
  ...{
    upstreamExpiresAt: null,
    expiresAt: null,
    activatedAt: given.createdAt,
    endedAt: null,
    endReason: null,
  },
  ...given,
});
