import { setTimeout as sleep } from 'node:timers/promises';
import { type StandIn, standInProfiles, startStandIn } from '@kontext/testkit';
import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Caller } from '../caller.ts';
import { openTestRoom, type TestRoom } from '../connections/test-room.ts';
import { leases, providers, secrets } from '../store/schema.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { createUpstreamRevocations } from './upstream-revocation.ts';

const narrow = { target: 'acme', repositories: ['app'], permissions: { contents: 'write', issues: 'read' } };

/** What a token may do, as GitHub says it with the token. */
const installation = (said: object) => ({ installation: said });

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

  const revocations = () => {
    const { store, deps, nowMs } = room;
    return createUpstreamRevocations({
      ...{ store, kms: deps.kms, fetch: deps.fetch, minters: {}, appended: deps.appended, nowMs },
      logger: { error: () => undefined },
    });
  };

  test('every lease has one of its own, which dies with it; the user’s own token is handed to nobody', async () => {
    const own = await connect();
    const sessionId = await room.openSession(owner);
    const [first, second] = [tokenOf(await resolve(sessionId)), tokenOf(await resolve(sessionId))];
    expect(new Set([own, first, second]).size).toBe(3);
    await room.sessions.end(owner, sessionId, { exitCode: 0, reason: '' });
    await revocations().run();
    expect([first, second, own].map(standIn.isLive)).toEqual([false, false, true]);
    const rows = await room.store.transaction({ role: 'app', orgId: owner.orgId }, (tx) =>
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

  test('settings that cannot be read hand out nothing, not the user’s own token', async () => {
    await connect();
    const sessionId = await room.openSession(owner);
    // As a later version, or somebody at the database, may leave them.
    const settings = JSON.stringify({ base: standIn.url, narrow: { ...narrow, orgs: ['acme'] } });
    await room.store.transaction({ role: 'app', orgId: owner.orgId }, (tx) =>
      tx.update(providers).set({ settings }).where(eq(providers.orgId, owner.orgId)),
    );
    expect(await resolve(sessionId)).toMatchObject({ ok: false, refusal: { code: 'KX_PROVIDER_INVALID' } });
  });

  test.each([
    ['the user’s own token', 'KX_PROVIDER_UNREACHABLE', (own: string) => ({ token: own })],
    ['more of a permission', 'KX_MINT_REFUSED', () => installation({ permissions: { contents: 'admin' } })],
    ['another permission', 'KX_MINT_REFUSED', () => installation({ permissions: { secrets: 'read' } })],
    ['every repository', 'KX_MINT_REFUSED', () => installation({ repository_selection: 'all' })],
  ])('an answer that gives %s is not handed out', async (_what, code, widen) => {
    const own = await connect();
    const { fetch } = room.deps;
    let made = '';
    const generous = room.replica({
      fetch: async (url, request) => {
        const answer = await fetch(url, request);
        if (!url.endsWith('/token/scoped')) return answer;
        const body = JSON.parse(answer.body.toString());
        made = body.token;
        return { ...answer, body: Buffer.from(JSON.stringify({ ...body, ...widen(own) })) };
      },
    });
    const wanted = [{ provider: 'github', resource: '', scopes: [], delivery: 'inject' as const }];
    const sessionId = await room.openSession(owner);
    const { outcomes } = await generous.credentials.resolve(owner, { sessionId, wanted, dryRun: false });
    expect(outcomes).toMatchObject([{ ok: false, refusal: { code } }]);
    // What was made is taken back, and the user's own token never is.
    expect(standIn.isLive(own)).toBe(true);
    expect(standIn.isLive(made)).toBe(code === 'KX_PROVIDER_UNREACHABLE');
  });

  test('they are taken back before their provider is removed: without it nobody could', async () => {
    await connect();
    const token = tokenOf(await resolve(await room.openSession(owner)));
    let isRemoved = false;
    const removing = room.connections.removeProvider(owner, 'github', true).finally(() => {
      isRemoved = true;
    });
    while (!isRemoved) {
      await revocations().run();
      await sleep(20);
    }
    expect((await removing).message).not.toContain('could not be taken back');
    expect(standIn.isLive(token)).toBe(false);
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
