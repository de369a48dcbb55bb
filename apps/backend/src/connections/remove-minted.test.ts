import { partState } from '@kontext/testkit';
import { and, eq, like } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createMintingBackend } from '../credentials/test-mint-room.ts';
import { createTestOrganisation } from '../organisations/test-organisation.ts';
import { openTestTarget, type TestTarget } from '../providers/minted/test-target.ts';
import { auditPayloads, leases } from '../store/schema.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';

const postgres = partState('postgres');

describe.skipIf(!postgres.available).each(testStores())(
  `removing a provider of leased roles, with a $kind store ${postgres.reason}`,
  ({ open }) => {
    let opened: TestStore;
    let target: TestTarget;
    beforeAll(async () => {
      [opened, target] = await Promise.all([open(), openTestTarget()]);
    });
    afterAll(async () => {
      await target?.close();
      await opened?.close();
    });

    /** A backend with one leased role in use. */
    const prepare = async () => {
      const backend = createMintingBackend({ store: opened.store, nowMs: Date.now });
      const org = await createTestOrganisation(opened.store, new Date());
      await backend.connections.addProvider(org.owner, {
        ...{ name: 'postgres', kind: 'postgres', authorizationEndpoint: '', tokenEndpoint: '' },
        ...{ revocationEndpoint: '', clientId: '', scopes: [], clientAuth: null },
        ...{ clientSecret: target.adminUrl, settingsJson: target.provider.settings },
      });
      const input = { agent: 'claude', agentVersion: '2.0', hostname: 'laptop', cliVersion: '0.1.0' };
      const opening = { ...input, mode: null, hookConfigHash: '' };
      const { session } = await backend.sessions.open(org.owner, opening);
      const one = { provider: 'postgres', resource: 'prod', scopes: [], delivery: 'inject' as const };
      const wanted = { sessionId: session.id, wanted: [one], dryRun: false };
      const { outcomes } = await backend.credentials.resolve(org.owner, wanted);
      expect(outcomes[0]?.ok).toBe(true);
      return { ...backend, ...org };
    };
    const readLeases = (orgId: string) =>
      opened.store.transaction({ role: 'app', orgId }, (tx) => tx.select().from(leases));

    test('is refused while one is in use; by force the role is dropped before the administrator is forgotten', async () => {
      const { connections, owner, orgId, revocations } = await prepare();
      const refused = connections.removeProvider(owner, 'postgres', false);
      await expect(refused).rejects.toMatchObject({ code: 'KX_PROVIDER_IN_USE' });
      expect(await target.leasedRoles()).toHaveLength(1);
      const loop = setInterval(() => void revocations.run(), 50);
      const removed = await connections.removeProvider(owner, 'postgres', true);
      clearInterval(loop);
      expect(removed).toEqual({ revokedAtProvider: 0, message: '' });
      expect(await target.leasedRoles()).toEqual([]);
      expect(await readLeases(orgId)).toMatchObject([{ state: 'ended', revocation: 'done' }]);
      expect(await connections.listProviders(owner)).toEqual([]);
      const events = await opened.store.transaction({ role: 'app', orgId }, (tx) =>
        tx
          .select()
          .from(auditPayloads)
          .where(and(eq(auditPayloads.orgId, orgId), like(auditPayloads.payload, '%"connections"%'))),
      );
      // The lease ended before the provider was removed, and for it.
      expect(events.map(({ payload }) => JSON.parse(payload))).toMatchObject([
        { provider: 'postgres', leasesEnded: 1 },
      ]);
    });

    test('says by force what could not be taken back', async () => {
      const { connections, owner, orgId } = await prepare();
      const { message } = await connections.removeProvider(owner, 'postgres', true);
      expect(message).toContain('1 credentials made for leases could not be taken back');
      expect(await readLeases(orgId)).toMatchObject([{ state: 'ended' }]);
      expect(await connections.listProviders(owner)).toEqual([]);
    });
  },
);
