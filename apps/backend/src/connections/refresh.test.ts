import { KontextError } from '@kontext/errors';
import { eq } from 'drizzle-orm';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Caller } from '../caller.ts';
import { createSafeFetch, type SafeFetch } from '../providers/safe-fetch.ts';
import { openPostgresStore } from '../store/postgres-store.ts';
import { connections as connectionTable } from '../store/schema.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { openTestRoom, type TestRoom } from './test-room.ts';

/** A promise to wait at until somebody opens it. */
const gate = () => {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open: () => open() };
};

describe.each(testStores())('refreshing on $kind', ({ open }) => {
  let opened: TestStore;
  let room: TestRoom;
  let owner: Caller;
  let connectionId: string;
  beforeAll(async () => {
    opened = await open();
    room = await openTestRoom(opened);
  });
  beforeEach(async () => {
    ({ owner } = await room.organisation());
    await room.addUpstream(owner);
    connectionId = await room.connect(owner);
  });
  afterEach(() => room.fault('none'));
  afterAll(async () => {
    await room?.close();
    await opened?.close();
  });

  const get = (replica: Pick<TestRoom, 'connections'> = room) =>
    replica.connections.tokens.get(owner.orgId, connectionId);
  const row = async () => {
    const rows = await room.store.transaction({ role: 'app', orgId: owner.orgId }, (tx) =>
      tx.select().from(connectionTable).where(eq(connectionTable.id, connectionId)),
    );
    return rows[0]!;
  };
  const works = async (accessToken: string) => {
    const response = await fetch(room.upstream.apiUrl, {
      headers: { authorization: `Bearer ${accessToken}` },
    });
    return response.status === 200;
  };
  const refreshes = async () => (await room.upstream.stats()).refreshes;

  test('a token that still lives is handed out without asking the provider', async () => {
    const before = await refreshes();
    const first = await get();
    expect(await get()).toEqual(first);
    expect(await refreshes()).toBe(before);
    expect(await works(first.accessToken)).toBe(true);
  });

  test('twenty parallel callers of an expiring token cause one refresh and all get the new one', async () => {
    const before = await refreshes();
    const old = await get();
    room.advance(595_000);
    const tokens = await Promise.all(Array.from({ length: 20 }, () => get()));
    expect(new Set(tokens.map((t) => t.accessToken)).size).toBe(1);
    expect(tokens[0]?.accessToken).not.toBe(old.accessToken);
    expect(await works(tokens[0]!.accessToken)).toBe(true);
    expect(await refreshes()).toBe(before + 1);
    expect((await row()).refreshStartedAt).toBeNull();
  });

  test('a second refresh uses the rotated refresh token', async () => {
    room.advance(595_000);
    const first = await get();
    room.advance(595_000);
    const second = await get();
    expect(second.refreshToken).not.toBe(first.refreshToken);
    expect(await works(second.accessToken)).toBe(true);
  });

  test.each(['500', '429', 'garbage', 'lost-answer'] as const)(
    'while the provider answers %s the old token is handed out as long as it lives',
    async (mode) => {
      const old = await get();
      room.advance(560_000);
      await room.fault(mode);
      expect(await get()).toEqual(old);
      expect((await row()).state).toBe('connected');
    },
  );

  test.each(['500', '429', 'garbage'] as const)(
    'a dead token and a provider that answers %s is a transient error, and later all is well again',
    async (mode) => {
      room.advance(700_000);
      await room.fault(mode);
      await expect(get()).rejects.toMatchObject({ code: 'KX_PROVIDER_UNREACHABLE' });
      await room.fault('none');
      room.advance(60_000);
      expect(await works((await get()).accessToken)).toBe(true);
    },
  );

  test('after a failure the provider is left in peace, and the caller is told for how long', async () => {
    room.advance(700_000);
    await room.fault('429');
    await expect(get()).rejects.toThrow();
    const { tokenRequests } = await room.upstream.stats();
    await expect(get()).rejects.toMatchObject({ details: { retry_after_seconds: 1 } });
    expect((await room.upstream.stats()).tokenRequests).toBe(tokenRequests);
  });

  test.each(['hang', 'slow-body'] as const)(
    'a provider in mode %s is given up after the deadline',
    async (mode) => {
      const patient = createSafeFetch({ allowLoopback: true });
      const impatient: SafeFetch = (url, request) => patient(url, { ...request, timeoutMs: 300 });
      const replica = room.replica({ fetch: impatient });
      room.advance(700_000);
      await room.fault(mode, 1);
      await expect(get(replica)).rejects.toMatchObject({ code: 'KX_PROVIDER_UNREACHABLE' });
      // The request may have arrived: the mark stays until an answer is stored.
      expect((await row()).refreshStartedAt).not.toBeNull();
      room.advance(60_000);
      expect(await works((await get(replica)).accessToken)).toBe(true);
      expect((await row()).refreshStartedAt).toBeNull();
    },
  );

  test('access withdrawn upstream ends in reauth_required, recorded, and is not tried again', async () => {
    await room.upstream.revokeAll();
    room.advance(595_000);
    await expect(get()).rejects.toMatchObject({ code: 'KX_CONNECTION_REAUTH_REQUIRED' });
    expect(await row()).toMatchObject({ state: 'reauth_required', refreshStartedAt: null });
    const { tokenRequests } = await room.upstream.stats();
    await expect(get()).rejects.toMatchObject({ code: 'KX_CONNECTION_REAUTH_REQUIRED' });
    expect((await room.upstream.stats()).tokenRequests).toBe(tokenRequests);
  });

  test('a crash between the answer and the commit is seen: the next caller asks, and invalid_grant is final', async () => {
    room.advance(595_000);
    const crashing = room.replica({
      kms: { ...room.deps.kms, wrap: () => new Promise(() => undefined) },
      // A pool of its own, so that the connection it holds for ever is nobody else's.
      ...(opened.url === null ? {} : { refreshStore: await ownPool() }),
    });
    const before = await refreshes();
    void get(crashing).catch(() => undefined);
    await expect.poll(refreshes).toBe(before + 1);
    expect((await row()).refreshStartedAt).not.toBeNull();
    await endIdleTransactions();
    await expect(get()).rejects.toMatchObject({ code: 'KX_CONNECTION_REAUTH_REQUIRED' });
    expect(await row()).toMatchObject({ state: 'reauth_required', refreshStartedAt: null });
  });

  test('a database that fails when the answer is to be stored is asked again, and nothing is lost', async () => {
    room.advance(595_000);
    const { refreshStore: real } = room.deps;
    let calls = 0;
    const failing: typeof real = {
      ...real,
      transaction: (scope, work) => {
        calls += 1;
        if (calls !== 2) return real.transaction(scope, work);
        return real.transaction(scope, async (tx) => {
          await work(tx);
          throw new KontextError('KX_STORE_UNREACHABLE', 'the database does not answer');
        });
      },
    };
    const before = await refreshes();
    const { accessToken } = await get(room.replica({ refreshStore: failing }));
    expect(await works(accessToken)).toBe(true);
    expect(await get()).toMatchObject({ accessToken });
    expect(await refreshes()).toBe(before + 1);
    expect(calls).toBe(3);
  });

  test('a crash before the provider was reached is seen, and the token is refreshed although it seems to live', async () => {
    await room.store.transaction({ role: 'app', orgId: owner.orgId }, (tx) =>
      tx
        .update(connectionTable)
        .set({ refreshStartedAt: new Date() })
        .where(eq(connectionTable.id, connectionId)),
    );
    const before = await refreshes();
    expect(await works((await get()).accessToken)).toBe(true);
    expect(await refreshes()).toBe(before + 1);
    expect((await row()).refreshStartedAt).toBeNull();
  });

  test('a missing expires_in is unknown: handed out, and refreshed when it is an hour old', async () => {
    room.advance(595_000);
    await room.fault('no-expires', 1);
    expect((await get()).expiresAtMs).toBeNull();
    const before = await refreshes();
    room.advance(59 * 60_000);
    await get();
    expect(await refreshes()).toBe(before);
    room.advance(2 * 60_000);
    await get();
    expect(await refreshes()).toBe(before + 1);
  });

  test('a connection that is revoked while the provider answers leaves no token that works', async () => {
    room.advance(595_000);
    const [asked, proceed] = [gate(), gate()];
    const replica = room.replica({
      fetch: async (url, request) => {
        const answer = await room.deps.fetch(url, request);
        asked.open();
        await proceed.opened;
        return answer;
      },
    });
    const issued = get(replica).catch((error: unknown) => error);
    await asked.opened;
    const revoked = room.connections.revoke(owner, connectionId);
    // On Postgres the one who revokes waits for the row and ends the new tokens; on PGlite the refresh finds it revoked.
    if (opened.url === null) await revoked;
    proceed.open();
    if (opened.url === null) expect(await issued).toMatchObject({ code: 'KX_CONNECTION_MISSING' });
    await Promise.all([issued, revoked]);
    const { accessTokens } = await room.upstream.issuedTokens();
    expect(await works(accessTokens.at(-1) ?? '')).toBe(false);
    await expect(get()).rejects.toMatchObject({ code: 'KX_CONNECTION_MISSING' });
  });

  /** A pool for a process that is going to die in the middle of a transaction. */
  const ownPool = () => openPostgresStore(opened.url ?? '', 2);
  /** What happens to the transactions of a process that dies: the server ends them. */
  const endIdleTransactions = async () => {
    if (opened.url === null) return;
    const client = new pg.Client({ connectionString: opened.url });
    await client.connect();
    await client.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND state = 'idle in transaction'`);
    await client.end();
  };
});

describe.each(testStores().filter(({ kind }) => kind === 'postgres'))('two replicas on $kind', ({ open }) => {
  test('twenty parallel callers of two processes cause one refresh', async () => {
    const opened = await open();
    const room = await openTestRoom(opened);
    try {
      const { owner } = await room.organisation();
      await room.addUpstream(owner);
      const connectionId = await room.connect(owner);
      const other = room.replica();
      room.advance(595_000);
      const tokens = await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          (i % 2 === 0 ? room : other).connections.tokens.get(owner.orgId, connectionId),
        ),
      );
      expect(new Set(tokens.map((t) => t.accessToken)).size).toBe(1);
      expect((await room.upstream.stats()).refreshes).toBe(1);
    } finally {
      await room.close();
      await opened.close();
    }
  });
});
