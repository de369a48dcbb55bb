import { partState } from '@kontext/testkit';
import { eq } from 'drizzle-orm';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Caller } from '../caller.ts';
import { createTestOrganisation, type TestOrganisation } from '../organisations/test-organisation.ts';
import type { Minter, MintersByKind } from '../providers/minted/minter.ts';
import { createMintersByKind } from '../providers/minted/minters-by-kind.ts';
import { openTestTarget, type TestTarget, testMinterDeps } from '../providers/minted/test-target.ts';
import type { LeaseRow } from '../store/queries/leases.ts';
import { leases } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import type { Outcome } from './outcome.ts';
import { createMintingBackend, type MintingBackend, type TestBackendOptions } from './test-mint-room.ts';

const postgres = partState('postgres');

describe.skipIf(!postgres.available).each(testStores())(
  `leased roles, with a $kind store ${postgres.reason}`,
  ({ open }) => {
    let opened: TestStore;
    let store: Store;
    let target: TestTarget;
    let offsetMs = 0;
    const nowMs = () => Date.now() + offsetMs;
    beforeAll(async () => {
      [opened, target] = await Promise.all([open(nowMs), openTestTarget()]);
      store = opened.store;
    });
    afterAll(async () => {
      await target?.close();
      await opened?.close();
    });

    const backend = (change: Partial<TestBackendOptions> = {}) =>
      createMintingBackend({ store, nowMs, ...change });
    const addDatabase = async (owner: Caller) => {
      const { settings } = target.provider;
      await backend().connections.addProvider(owner, {
        ...{ name: 'postgres', kind: 'postgres', authorizationEndpoint: '', tokenEndpoint: '' },
        ...{ revocationEndpoint: '', clientId: '', scopes: [], clientAuth: null },
        ...{ clientSecret: target.adminUrl, settingsJson: settings },
      });
    };
    const prepare = async (): Promise<TestOrganisation & { sessionId: string }> => {
      const org = await createTestOrganisation(store, new Date(nowMs()));
      await addDatabase(org.owner);
      const input = { agent: 'claude', agentVersion: '2.0', hostname: 'laptop', cliVersion: '0.1.0' };
      const { session } = await backend().sessions.open(org.owner, {
        ...{ ...input, mode: null, hookConfigHash: '' },
      });
      return { ...org, sessionId: session.id };
    };
    type Org = Awaited<ReturnType<typeof prepare>>;
    const resolve = async (
      { credentials }: Pick<MintingBackend, 'credentials'>,
      { owner, sessionId }: Org,
      resources: readonly string[] = ['prod'],
      scopes: readonly string[] = [],
    ): Promise<readonly Outcome[]> => {
      const wanted = resources.map((resource) => ({
        ...{ provider: 'postgres', resource, scopes, delivery: 'inject' as const },
      }));
      return (await credentials.resolve(owner, { sessionId, wanted, dryRun: false })).outcomes;
    };
    const revealed = (outcome: Outcome | undefined): string => {
      if (!outcome?.ok) throw new Error(`refused: ${JSON.stringify(outcome)}`);
      return outcome.value.reveal();
    };
    const connect = async (url: string): Promise<pg.Client> => {
      const client = new pg.Client({ connectionString: url });
      client.on('error', () => undefined);
      await client.connect();
      return client;
    };
    const readLeases = ({ orgId }: Org): Promise<LeaseRow[]> =>
      store.transaction({ role: 'app', orgId }, (tx) =>
        tx.select().from(leases).where(eq(leases.orgId, orgId)).orderBy(leases.id),
      );
    const end = (org: Org) => backend().sessions.end(org.owner, org.sessionId, { exitCode: 0, reason: '' });
    const minterWith = (change: (minter: Minter) => Partial<Minter>): MintersByKind => {
      const minters = createMintersByKind(testMinterDeps({ nowMs }));
      const real = minters.postgres as Minter;
      return { postgres: { ...real, ...change(real) } };
    };

    test('the role exists while the session lives; at its end a connected client is cut and the role is gone', async () => {
      const org = await prepare();
      const client = await connect(revealed((await resolve(backend(), org))[0]));
      const cut = new Promise((done) => client.once('end', done));
      expect((await client.query('SELECT note FROM invoices')).rows).toEqual([{ note: 'paid' }]);
      const [lease] = await readLeases(org);
      expect(lease).toMatchObject({ kind: 'minted', state: 'active', resource: 'prod', scope: [] });
      expect(await target.leasedRoles()).toEqual([lease?.plannedName]);

      await end(org);
      await backend().revocations.run();

      await cut;
      expect(await target.leasedRoles()).toEqual([]);
      expect(await readLeases(org)).toMatchObject([{ state: 'ended', revocation: 'done' }]);
    });

    test('parts of one connection come from one role', async () => {
      const org = await prepare();
      const outcomes = await resolve(backend(), org, [
        'prod/user',
        'prod/password',
        'prod/host',
        'prod/port',
      ]);
      const [user = '', password = '', host = '', port = ''] = outcomes.map(revealed);

      const client = new pg.Client({ host, port: Number(port), user, password, database: target.database });
      await client.connect();
      await client.end();
      expect(await target.leasedRoles()).toEqual([user]);
      expect(new Set((await readLeases(org)).map(({ plannedName }) => plannedName))).toEqual(new Set([user]));
      await end(org);
      await backend().revocations.run();
      expect(await target.leasedRoles()).toEqual([]);
    });

    test('revoking the lease of one part ends those of the others: they are one credential', async () => {
      const org = await prepare();
      const server = backend();
      await resolve(server, org, ['prod/user', 'prod/password']);
      const [part] = await readLeases(org);
      await server.credentials.revokeLeases(org.owner, { leaseId: part?.id ?? '' }, false);
      expect((await readLeases(org)).map(({ state }) => state)).toEqual(['ended', 'ended']);
      await server.revocations.run();
      expect(await target.leasedRoles()).toEqual([]);
    });

    test('the name is stored before anything is made, and no transaction waits for the database', async () => {
      const org = await prepare();
      let seen: LeaseRow[] = [];
      const minters = minterWith((real) => ({
        async mint(request) {
          // On the embedded database this would hang if the exchange held its transaction.
          seen = await readLeases(org);
          return real.mint(request);
        },
      }));
      await resolve(backend({ minters }), org);
      expect(seen).toMatchObject([{ state: 'pending', plannedName: expect.stringMatching(/^kontext_lea_/) }]);
      await end(org);
      await backend().revocations.run();
    });

    test('a backend that dies between mint and commit leaves nothing once a minute is over', async () => {
      const org = await prepare();
      let minted = () => {};
      const reached = new Promise<void>((done) => {
        minted = done;
      });
      // It never goes on: as good as killed.
      const afterFetch = () => {
        minted();
        return new Promise<void>(() => undefined);
      };
      void resolve(backend({ afterFetch }), org);
      await reached;
      expect(await target.leasedRoles()).toHaveLength(1);

      const survivor = backend();
      await survivor.credentials.sweep();
      await survivor.revocations.run();
      expect(await target.leasedRoles()).toHaveLength(1);
      offsetMs += 61_000;
      await survivor.credentials.sweep();
      await survivor.revocations.run();

      expect(await target.leasedRoles()).toEqual([]);
      expect(await readLeases(org)).toMatchObject([
        { state: 'ended', endReason: 'stale', revocation: 'done' },
      ]);
    });

    test('a command that was killed: the session is lost after 90 s and its roles go', async () => {
      const org = await prepare();
      await resolve(backend(), org);
      offsetMs += 91_000;
      await backend().sessions.sweep();
      await backend().revocations.run();
      expect(await target.leasedRoles()).toEqual([]);
      expect(await readLeases(org)).toMatchObject([{ endReason: 'session.lost', revocation: 'done' }]);
    });

    test('a session that ends while its role is made gets nothing, and the role is dropped at once', async () => {
      const org = await prepare();
      const afterFetch = async () => {
        await end(org);
      };
      const [outcome] = await resolve(backend({ afterFetch }), org);
      expect(outcome).toMatchObject({ ok: false, refusal: { code: 'KX_SESSION_ENDED' } });
      expect(await target.leasedRoles()).toEqual([]);
    });

    test('a store that fails after the mint: the role is dropped at once', async () => {
      const org = await prepare();
      let isAway = false;
      const failing: Store = {
        ...store,
        transaction: (scope, work) =>
          isAway ? Promise.reject(new Error('the store is away')) : store.transaction(scope, work),
      };
      const broken = backend({
        store: failing,
        afterFetch: async () => {
          isAway = true;
        },
      });
      await expect(resolve(broken, org)).rejects.toThrow('the store is away');
      expect(await target.leasedRoles()).toEqual([]);
      // Nobody knows that it was dropped: while a mint may be under way, finding nothing proves nothing.
      await end(org);
      await backend().revocations.run();
      offsetMs += 61_000;
      await backend().revocations.run();
      expect(await readLeases(org)).toMatchObject([{ state: 'ended', revocation: 'done' }]);
    });

    test('an expired lease ends its role, open connections included', async () => {
      const org = await prepare();
      const client = await connect(revealed((await resolve(backend(), org))[0]));
      const cut = new Promise((done) => client.once('end', done));
      const [lease] = await readLeases(org);
      offsetMs += (lease?.expiresAt?.getTime() ?? 0) - nowMs() + 1000;
      await backend().credentials.sweep();
      await backend().revocations.run();
      await cut;
      expect(await target.leasedRoles()).toEqual([]);
    });

    test('a renewal is another role; the one before lives until it expires, and both go with the session', async () => {
      const org = await prepare();
      await resolve(backend(), org);
      const [first] = await readLeases(org);
      const { credentials, revocations } = backend();
      const items = [{ leaseId: first?.id ?? '', wanted: null }];
      const { outcomes } = await credentials.renew(org.owner, { sessionId: org.sessionId, items });
      await revocations.run();
      const [, second] = await readLeases(org);
      expect(second).toMatchObject({ renewsLeaseId: first?.id, state: 'active' });
      expect(revealed(outcomes[0])).toContain(second?.plannedName);
      expect(await target.leasedRoles()).toEqual([first?.plannedName, second?.plannedName]);

      offsetMs += (first?.expiresAt?.getTime() ?? 0) - nowMs() + 1000;
      await revocations.run();
      expect(await target.leasedRoles()).toEqual([second?.plannedName]);

      await end(org);
      await revocations.run();
      expect(await target.leasedRoles()).toEqual([]);
    });

    test.each([
      ['what the settings do not know', ['staging'], [], 'KX_RESOURCE_UNKNOWN'],
      ['a scope', ['prod'], ['superuser'], 'KX_SCOPE_EXCEEDED'],
    ])('%s is refused and nothing is made', async (_what, resources, scopes, code) => {
      const org = await prepare();
      const [outcome] = await resolve(backend(), org, resources, scopes);
      expect(outcome).toMatchObject({ ok: false, refusal: { code } });
      expect(await readLeases(org)).toEqual([]);
    });

    test('a database that refuses is not asked to take back; one that is away is', async () => {
      const org = await prepare();
      await target.sql(`ALTER ROLE "${target.templateRole}" RENAME TO "renamed ${target.database}"`);
      const [refused] = await resolve(backend(), org);
      await target.sql(`ALTER ROLE "renamed ${target.database}" RENAME TO "${target.templateRole}"`);
      const minters = minterWith((real) => ({
        async mint(request) {
          await real.mint(request);
          throw Object.assign(new Error('the answer was lost'));
        },
      }));
      const [lost] = await resolve(backend({ minters }), org);

      expect(refused).toMatchObject({ ok: false, refusal: { code: 'KX_MINT_REFUSED' } });
      expect(lost).toMatchObject({ ok: false, refusal: { code: 'KX_INTERNAL' } });
      expect((await readLeases(org)).map(({ revocation }) => revocation)).toEqual(['none', 'pending']);
      expect(await target.leasedRoles()).toHaveLength(1);
      await backend().revocations.run();
      expect(await target.leasedRoles()).toEqual([]);
    });

    test('ten placeholders of ten users are ten roles, made side by side', async () => {
      const orgs = await Promise.all(Array.from({ length: 10 }, () => prepare()));
      const urls = await Promise.all(orgs.map((org) => resolve(backend(), org)));
      expect(new Set(urls.map(([one]) => revealed(one))).size).toBe(10);
      expect(await target.leasedRoles()).toHaveLength(10);
      await Promise.all(orgs.map((org) => end(org)));
      await backend().revocations.run();
      expect(await target.leasedRoles()).toEqual([]);
    });
  },
);
