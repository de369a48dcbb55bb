import { createId } from '@kontext/audit';
import type { Kms } from '@kontext/vault';
import { createLocalKms } from '@kontext/vault';
import { prepareLogKey } from '../audit/log/log-key.ts';
import type { Caller } from '../caller.ts';
import { preparePolicyKey } from '../policies/policy-key.ts';
import type { Role } from '../store/queries/local-accounts.ts';
import type { Store } from '../store/store.ts';
import { createOrganisation, createUser } from './create-organisation.ts';

/** A key service with a key that is always the same. */
export const testKms: Kms = createLocalKms(new Map([['test', Buffer.alloc(32, 7)]]), 'test');

/** An organisation for one test. */
export interface TestOrganisation {
  readonly orgId: string;
  readonly owner: Caller;
  /** Adds a user and returns them as a caller. */
  addUser(role: Role): Promise<Caller>;
}

/** Makes an organisation of its own for a test, with its owner. */
export async function createTestOrganisation(store: Store, now: Date): Promise<TestOrganisation> {
  const [orgId, ownerId] = [createId('org', now.getTime()), createId('usr', now.getTime())];
  const slug = `t-${orgId.slice(-12)}`;
  const policyKey = await preparePolicyKey(testKms, orgId, now);
  const logKey = await prepareLogKey(testKms, orgId, now);
  const org = { orgId, slug, name: slug, ownerId, ownerName: 'owner', policyKey, logKey };
  await store.transaction({ role: 'system', orgId: null }, (tx) => createOrganisation(tx, org, now));
  const caller = (userId: string, role: Role): Caller => ({
    userId,
    userName: role,
    orgId,
    role,
    grantId: `grant-of-${userId}`,
  });
  return {
    orgId,
    owner: caller(ownerId, 'owner'),
    addUser: async (role) => {
      const userId = createId('usr', now.getTime());
      const user = { userId, name: role, role, groups: [] };
      await store.transaction({ role: 'app', orgId }, (tx) => createUser(tx, orgId, user, ownerId, now));
      return caller(userId, role);
    },
  };
}
