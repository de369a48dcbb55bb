import { createId, parseHeader } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { Secret } from '@kontext/redaction';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createAppendSignal } from '../audit/append-signal.ts';
import { createAuditService } from '../audit/audit-service.ts';
import {
  createTestOrganisation,
  type TestOrganisation,
  testKms,
} from '../organisations/test-organisation.ts';
import type { Minter, RevokeOutcome, RevokeRequest } from '../providers/minted/minter.ts';
import { createSafeFetch } from '../providers/safe-fetch.ts';
import { insertLeases, keepSecrets, sweepLeases } from '../store/queries/issued-leases.ts';
import { endLeases, endUnissuedLeases, type LeaseRow } from '../store/queries/leases.ts';
import { insertProvider, type ProviderRow } from '../store/queries/providers.ts';
import { leases, secrets } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import { makeTestLease } from '../store/test-lease.ts';
import { makeTestProvider } from '../store/test-provider.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import type { Tx } from '../store/tx.ts';
import { sealKept } from './lease-secret.ts';
import {
  createUpstreamRevocations,
  maxAttempts,
  mintGraceMs,
  type RevocationDeps,
} from './upstream-revocation.ts';

type Answer = RevokeOutcome | Error | 'hangs';

let nowMs = Date.now();

/** A minter whose upstream is a set of names, and whose answers a test may replace. */
function createFakeMinter() {
  const made = new Set<string>();
  const asked: (Omit<RevokeRequest, 'kept'> & { kept: string | null })[] = [];
  let answer: ((request: RevokeRequest) => Answer | Promise<Answer>) | null = null;
  const notHere = () => {
    throw new Error('not part of this test');
  };
  const minter: Minter = {
    target: notHere,
    plan: notHere,
    mint: notHere,
    async revoke(request) {
      asked.push({ ...request, kept: request.kept?.reveal() ?? null });
      const given = answer === null ? null : await answer(request);
      if (given instanceof Error) throw given;
      if (given === 'hangs') return new Promise(() => undefined);
      return given ?? (made.delete(request.plannedName ?? '') ? 'revoked' : 'gone');
    },
  };
  return {
    ...{ minter, made, asked },
    answerWith(next: typeof answer) {
      answer = next;
    },
  };
}

describe.each(testStores())('revocation at the provider on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  let org: TestOrganisation;
  let provider: ProviderRow;
  let fake: ReturnType<typeof createFakeMinter>;
  let logged: unknown[];
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
  });
  afterAll(() => opened?.close());
  beforeEach(async () => {
    nowMs = Date.now();
    fake = createFakeMinter();
    logged = [];
    org = await createTestOrganisation(store, new Date(nowMs));
    provider = makeTestProvider({ orgId: org.orgId, name: 'db', kind: 'postgres' });
    await inOrg((tx) => insertProvider(tx, provider, null));
  });

  const inOrg = <T>(work: (tx: Tx) => Promise<T>): Promise<T> =>
    store.transaction({ role: 'app', orgId: org.orgId }, work);
  const deps = (change: Partial<RevocationDeps> = {}): RevocationDeps => ({
    ...{ store, kms: testKms, fetch: createSafeFetch({ allowLoopback: true }) },
    ...{ minters: { postgres: fake.minter }, appended: createAppendSignal(), nowMs: () => nowMs },
    ...{ logger: { error: (facts: unknown) => void logged.push(facts) } as RevocationDeps['logger'] },
    ...{ random: () => 1, callTimeoutMs: 50 },
    ...change,
  });
  const loop = (change: Partial<RevocationDeps> = {}) => createUpstreamRevocations(deps(change));
  const add = async (change: Partial<LeaseRow> = {}): Promise<string> => {
    const id = createId('lea');
    const createdAt = new Date(nowMs);
    const lease = makeTestLease({
      ...{ id, orgId: org.orgId, userId: org.owner.userId, createdAt, kind: 'minted' },
      ...{ providerId: provider.id, provider: 'db', resource: 'prod', plannedName: `kx_${id}` },
      ...change,
    });
    await inOrg((tx) => insertLeases(tx, [lease]));
    if (lease.state !== 'pending') fake.made.add(lease.plannedName ?? '');
    return id;
  };
  const end = (...ids: string[]) => inOrg((tx) => endLeases(tx, ids, 'test', new Date(nowMs)));
  const read = async (id: string): Promise<LeaseRow> => {
    const [row] = await inOrg((tx) => tx.select().from(leases).where(eq(leases.id, id)));
    if (row === undefined) throw new Error('no such lease');
    return row;
  };
  const events = async () => {
    const audit = createAuditService({ store });
    const { streams } = await audit.listStreams(org.owner, { sessionId: null, pageSize: 0, cursor: '' });
    const stream = streams.find(({ kind }) => kind === 'admin');
    const page = await audit.readStream(org.owner, {
      ...{ streamId: stream?.id ?? '', fromSeq: 0, pageSize: 0 },
    });
    return page.events.filter(({ kind }) => kind === 'credential.revoked');
  };

  test('takes back what was made for an ended lease, records it, and leaves a live one alone', async () => {
    const [ended, live] = [await add(), await add()];
    await end(ended);

    await loop().run();

    expect(fake.made).toEqual(new Set([`kx_${live}`]));
    expect(await read(ended)).toMatchObject({ revocation: 'done', revocationDueAt: null });
    expect(await read(live)).toMatchObject({ state: 'active', revocation: 'none' });
    expect(fake.asked).toMatchObject([{ plannedName: `kx_${ended}`, resource: 'prod', leaseId: ended }]);
    const [event] = await events();
    expect(parseHeader(event?.header ?? '').lineage.leases).toEqual([ended]);
  });

  test('what is gone already, or cannot be taken back, is noted as such and not asked for again', async () => {
    const [gone, impossible] = [await add(), await add()];
    await end(gone, impossible);
    fake.answerWith(({ leaseId }) => (leaseId === gone ? 'gone' : 'impossible'));

    await loop().run();
    nowMs += 86_400_000;
    await loop().run();

    expect(await read(gone)).toMatchObject({ revocation: 'done' });
    expect(await read(impossible)).toMatchObject({ revocation: 'impossible' });
    expect(fake.asked).toHaveLength(2);
  });

  test('a failing call is repeated with growing pauses until it works', async () => {
    const id = await add();
    await end(id);
    fake.answerWith(() => new KontextError('KX_PROVIDER_UNREACHABLE', 'down'));
    const pauses: number[] = [];
    for (let i = 0; i < 4; i += 1) {
      await loop().run();
      const due = (await read(id)).revocationDueAt?.getTime() ?? 0;
      pauses.push(due - nowMs);
      await loop().run();
      nowMs = due;
    }
    fake.answerWith(null);
    await loop().run();
    expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000]);
    expect(fake.asked).toHaveLength(5);
    expect(await read(id)).toMatchObject({ revocation: 'done' });
  });

  test('a provider that hangs costs its deadline, holds up no other, and is asked again', async () => {
    const [hanging, fine] = [await add(), await add()];
    await end(hanging, fine);
    fake.answerWith(({ leaseId }) => (leaseId === hanging ? 'hangs' : 'revoked'));
    await loop().run();
    expect(await read(fine)).toMatchObject({ revocation: 'done' });
    expect(await read(hanging)).toMatchObject({ revocation: 'pending', revocationAttempts: 1 });
    fake.answerWith(null);
    nowMs += 1_000;
    await loop().run();
    expect(await read(hanging)).toMatchObject({ revocation: 'done' });
  });

  test('gives up after many tries: recorded, logged once, not asked again', async () => {
    const id = await add();
    await end(id);
    fake.answerWith(() => new Error('a bug'));
    for (let i = 0; i <= maxAttempts; i += 1) {
      await loop().run();
      nowMs += 3_600_000;
    }
    expect(await read(id)).toMatchObject({ revocation: 'failed', revocationAttempts: maxAttempts });
    expect(fake.asked).toHaveLength(maxAttempts);
    expect(logged).toMatchObject([{ lease: id, detail: 'KX_INTERNAL' }]);
    expect(await events()).toHaveLength(1);
  });

  test('two replicas share the work: each lease is taken back once', async () => {
    const ids = await Promise.all(Array.from({ length: 40 }, () => add()));
    await end(...ids);
    fake.answerWith(async () => {
      await new Promise((resolve) => setTimeout(resolve, 2));
      return 'revoked' as const;
    });
    await Promise.all([loop({ callTimeoutMs: 30_000 }).run(), loop({ callTimeoutMs: 30_000 }).run()]);
    expect(fake.asked.map(({ leaseId }) => leaseId).sort()).toEqual(ids.toSorted());
  });

  test('what a replica claimed and died with, another takes over when the claim has lapsed', async () => {
    const id = await add();
    await end(id);
    fake.answerWith(() => 'hangs');
    // Its deadline never comes: the replica is gone.
    void loop({ callTimeoutMs: 600_000 }).run();
    await expect.poll(() => fake.asked.length).toBe(1);
    fake.answerWith(null);
    await loop().run();
    expect(await read(id)).toMatchObject({ revocation: 'pending' });
    nowMs += 1_200_000;
    await loop().run();
    expect(await read(id)).toMatchObject({ revocation: 'done' });
  });

  test('of a mint that a crash left pending the planned name is taken back', async () => {
    const id = await add({ state: 'pending', activatedAt: null });
    fake.made.add(`kx_${id}`);
    nowMs += mintGraceMs + 1;
    const now = new Date(nowMs);
    await store.transaction({ role: 'system', orgId: null }, (tx) =>
      sweepLeases(tx, { pendingBefore: new Date(0), mintedBefore: new Date(nowMs - mintGraceMs), now }),
    );
    await loop().run();
    expect(fake.made).toEqual(new Set());
    expect(await read(id)).toMatchObject({ state: 'ended', endReason: 'stale', revocation: 'done' });
  });

  test('finding nothing proves nothing while the mint may be under way', async () => {
    const id = await add({ state: 'pending', activatedAt: null });
    await end(id);
    await loop().run();
    expect(await read(id)).toMatchObject({ revocation: 'pending' });
    fake.made.add(`kx_${id}`);
    nowMs += mintGraceMs;
    await loop().run();
    expect(fake.made).toEqual(new Set());
    expect(await read(id)).toMatchObject({ revocation: 'done' });
  });

  test('a mint that ends while its name is being taken back is taken back once more', async () => {
    const id = await add({ state: 'pending', activatedAt: null });
    await end(id);
    fake.answerWith(async () => {
      await inOrg((tx) => endUnissuedLeases(tx, [id], 'not_issued', new Date(nowMs)));
      return 'revoked' as const;
    });
    const minter = loop();
    await minter.run();
    expect(await read(id)).toMatchObject({ revocation: 'pending', revocationAttempts: 0 });
    fake.answerWith(null);
    await minter.run();
    nowMs += mintGraceMs;
    await minter.run();
    expect(fake.asked).toHaveLength(3);
    expect(await read(id)).toMatchObject({ revocation: 'done' });
  });

  test('what was kept with the lease reaches the provider and is removed afterwards', async () => {
    const id = await add();
    const secret = await sealKept(
      testKms,
      { id, orgId: org.orgId },
      new Secret('kept-value'),
      new Date(nowMs),
    );
    await inOrg((tx) => keepSecrets(tx, [{ leaseId: id, secret }]));
    await end(id);
    await loop().run();
    expect(fake.asked).toMatchObject([{ kept: 'kept-value' }]);
    const left = await inOrg((tx) => tx.select().from(secrets).where(eq(secrets.id, secret.id)));
    expect(left).toEqual([]);
    expect((await read(id)).secretId).toBeNull();
  });

  test('a lease whose provider was removed is given up at once', async () => {
    const id = await add({ providerId: createId('prv') });
    await end(id);
    await loop().run();
    expect(await read(id)).toMatchObject({ revocation: 'failed' });
    expect(logged).toMatchObject([{ lease: id, detail: 'the provider was removed' }]);
  });

  test('a wake during a pass makes it look again', async () => {
    const [first, second] = [await add(), await add()];
    await end(first);
    const revocations = loop();
    fake.answerWith(async ({ leaseId }) => {
      if (leaseId === first) {
        await end(second);
        revocations.wake();
      }
      return 'revoked' as const;
    });
    await revocations.run();
    expect(await read(second)).toMatchObject({ revocation: 'done' });
  });
});
