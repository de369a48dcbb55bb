import { type StandIn, standInProfiles, startStandIn } from '@kontext/testkit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Caller } from '../caller.ts';
import { openTestRoom, type TestRoom } from '../connections/test-room.ts';
import { leases, secrets } from '../store/schema.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { createUpstreamRevocations } from './upstream-revocation.ts';

const narrow = { target: 'acme', repositories: ['app'], permissions: { contents: 'write', issues: 'read' } };

describe.each(testStores())('a token narrowed for one lease, on $kind', ({ open }) => {
  let opened: TestStore;
  let room: TestRoom;
  let owner: Caller;
  let standIn: StandIn;
  beforeAll(async () => {
    opened = await open();
    room = await openTestRoom(opened);
  });
  beforeEach(async () => {
    ({ owner } = await room.organisation());
    standIn = await startStandIn(standInProfiles['github-app-user']);
  });
  afterEach(() => standIn?.close());
  afterAll(async () => {
    await room?.close();
    await opened?.close();
  });

  const connect = async (settings: object = { narrow }) => {
    const { url, clientId, clientSecret } = standIn;
    await room.connections.addProvider(owner, {
      ...{ name: 'github', kind: null, catalogueId: 'github-app-user', clientId, clientSecret, scopes: [] },
      ...{ authorizationEndpoint: '', tokenEndpoint: '', revocationEndpoint: '', clientAuth: null },
      settingsJson: JSON.stringify({ base: url, ...settings }),
    });
    const id = await room.connect(owner, { provider: 'github' });
    return (await room.connections.tokens.get(owner.orgId, id)).accessToken;
  };
  const resolve = async (sessionId: string, scopes: readonly string[] = []) => {
    const one = { provider: 'github', resource: '', scopes, delivery: 'inject' as const };
    const { outcomes } = await room.credentials.resolve(owner, { sessionId, wanted: [one], dryRun: false });
    return outcomes[0];
  };
  const tokenOf = (outcome: Awaited<ReturnType<typeof resolve>>) =>
    outcome?.ok ? outcome.value.reveal() : expect.fail(`refused: ${JSON.stringify(outcome)}`);

  test('every lease has one of its own, which dies with it; the user’s own token is handed to nobody', async () => {
    const own = await connect();
    const sessionId = await room.openSession(owner);
    const [first, second] = [tokenOf(await resolve(sessionId)), tokenOf(await resolve(sessionId))];
    expect(new Set([own, first, second]).size).toBe(3);
    await room.sessions.end(owner, sessionId, { exitCode: 0, reason: '' });
    const { store, deps, nowMs } = room;
    const revocations = createUpstreamRevocations({
      ...{ store, kms: deps.kms, fetch: deps.fetch, minters: {}, appended: deps.appended, nowMs },
      logger: { error: () => undefined },
    });
    await revocations.run();
    expect([first, second, own].map(standIn.isLive)).toEqual([false, false, true]);
    const rows = await store.transaction({ role: 'app', orgId: owner.orgId }, (tx) =>
      tx.select().from(leases),
    );
    expect(rows.map(({ revocation, secretId }) => [revocation, secretId])).toEqual([
      ['done', null],
      ['done', null],
    ]);
  });

  test('a placeholder narrows it further, and gets no more than the settings give', async () => {
    await connect();
    const sessionId = await room.openSession(owner);
    expect(await resolve(sessionId, ['contents:read'])).toMatchObject({
      ok: true,
      scopes: ['contents:read'],
    });
    expect(await resolve(sessionId)).toMatchObject({ ok: true, scopes: ['contents:write', 'issues:read'] });
    for (const scope of ['contents:admin', 'secrets:read', 'repo']) {
      expect(await resolve(sessionId, [scope])).toMatchObject({
        ...{ ok: false, refusal: { code: 'KX_SCOPE_EXCEEDED', oauthError: 'invalid_scope' } },
      });
    }
  });

  test('what the provider refuses leaves nothing behind, and never falls back to the user’s own token', async () => {
    await connect({ narrow: { ...narrow, target: 'elsewhere' } });
    const sessionId = await room.openSession(owner);
    expect(await resolve(sessionId)).toMatchObject({ ok: false, refusal: { code: 'KX_SCOPE_EXCEEDED' } });
    standIn.answerNext({ status: 502, body: 'oops' });
    expect(await resolve(sessionId)).toMatchObject({
      ok: false,
      refusal: { code: 'KX_PROVIDER_UNREACHABLE' },
    });
    const [rows, kept] = await room.store.transaction({ role: 'app', orgId: owner.orgId }, async (tx) => [
      await tx.select().from(leases),
      (await tx.select().from(secrets)).filter(({ purpose }) => purpose === 'lease'),
    ]);
    expect(rows.map(({ state }) => state)).toEqual(['ended', 'ended']);
    expect(kept).toEqual([]);
  });

  test('a provider that cannot narrow is not added with that setting', async () => {
    const added = room.connections.addProvider(owner, {
      ...{ name: 'gitlab', kind: null, catalogueId: 'gitlab', clientId: 'id', clientSecret: 's', scopes: [] },
      ...{ authorizationEndpoint: '', tokenEndpoint: '', revocationEndpoint: '', clientAuth: null },
      settingsJson: JSON.stringify({ narrow }),
    });
    await expect(added).rejects.toMatchObject({ code: 'KX_PROVIDER_INVALID' });
  });
});
