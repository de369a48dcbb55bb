import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Caller } from '../caller.ts';
import type { TestOrganisation } from '../organisations/test-organisation.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { approve, openTestRoom, readCallback, type TestRoom } from './test-room.ts';

describe.each(testStores())('trying a connection on $kind', ({ open }) => {
  let opened: TestStore;
  let room: TestRoom;
  let org: TestOrganisation;
  let owner: Caller;
  beforeAll(async () => {
    opened = await open();
    room = await openTestRoom(opened);
  });
  beforeEach(async () => {
    org = await room.organisation();
    owner = org.owner;
  });
  afterEach(async () => {
    await room.upstream.setFault('none', { on: 'all' });
    await room.upstream.setSettings({ account: 'upstream-user' });
  });
  afterAll(async () => {
    await room?.close();
    await opened?.close();
  });

  /** The upstream, described with the address that says whose a token is. */
  const addWithWhoAmI = async (scopes = ['openid', 'read']) => {
    const { authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId, clientSecret, apiUrl } =
      room.upstream;
    const provider = await room.connections.addProvider(owner, {
      ...{ name: 'acme', kind: 'oauth2', authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId },
      ...{ clientSecret, clientAuth: 'client_secret_basic', scopes },
      settingsJson: JSON.stringify({ whoAmI: { url: apiUrl, account: 'sub', scopes: 'scope' } }),
    });
    await room.upstream.setRedirectUris([room.connections.callbackUrl(provider)]);
  };

  const isAlive = async (token: string) => {
    await room.upstream.setFault('none', { on: 'all' });
    return (await fetch(room.upstream.apiUrl, { headers: { authorization: `Bearer ${token}` } })).ok;
  };

  test('says whose a token is and what it may do, and hands nothing out', async () => {
    await addWithWhoAmI();
    const id = await room.connect(owner);
    expect(await room.connections.test(owner, id)).toEqual({
      ...{ works: true, message: 'it works, as upstream-user', account: 'upstream-user' },
      scopes: ['openid', 'read'],
    });
    expect((await room.connections.get(owner, id)).liveLeases).toBe(0);
  });

  test('refreshes a token that is over before it is tried', async () => {
    await addWithWhoAmI();
    const id = await room.connect(owner);
    const before = (await room.upstream.stats()).refreshes;
    room.advance(3_600_000);
    expect(await room.connections.test(owner, id)).toMatchObject({ works: true });
    expect((await room.upstream.stats()).refreshes).toBe(before + 1);
  });

  test('says in words why it does not work', async () => {
    await addWithWhoAmI();
    const id = await room.connect(owner);
    await room.upstream.revokeAll();
    const answer = await room.connections.test(owner, id);
    expect(answer).toMatchObject({ works: false, account: null });
    expect(answer.message).not.toBe('');
  });

  test('of a static key it says that it is stored, and that it was not tried', async () => {
    const { connection } = await room.connections.putSecret(owner, {
      ...{ provider: 'stripe', name: '', value: 'sk_stored', shared: false },
    });
    const answer = await room.connections.test(owner, connection.id);
    expect(answer).toMatchObject({ works: true, message: expect.stringContaining('no address') });
    expect(JSON.stringify(answer)).not.toContain('sk_stored');
  });

  test('connecting asks whose account it is, and takes no other one in its place', async () => {
    await addWithWhoAmI(['read']);
    const id = await room.connect(owner);
    expect((await room.connections.get(owner, id)).connection.account).toBe('upstream-user');

    await room.upstream.setSettings({ account: 'somebody-else' });
    await expect(room.connect(owner)).rejects.toMatchObject({ code: 'KX_CONNECT_FAILED' });
    await room.upstream.setSettings({ account: 'upstream-user' });
    await room.upstream.setFault('500', { on: 'api' });
    await expect(room.connect(owner)).rejects.toMatchObject({ code: 'KX_PROVIDER_UNREACHABLE' });

    const { connection } = await room.connections.get(owner, id);
    expect(connection).toMatchObject({ state: 'connected', account: 'upstream-user', version: 1 });
    // What was issued and could not be named was taken back.
    const { accessTokens } = await room.upstream.issuedTokens();
    expect(await isAlive(accessTokens.at(-1) ?? '')).toBe(false);
  });

  test('a login that does not say whose account it is takes no known one over', async () => {
    await addWithWhoAmI(['read']);
    const id = await room.connect(owner);
    await room.upstream.setSettings({ account: 'somebody-else' });
    // The provider takes the code, and does not know the token a moment later.
    const { fetch } = room.deps;
    const { connections } = room.replica({
      fetch: async (url, request) =>
        url === room.upstream.apiUrl
          ? { status: 401, headers: {}, body: Buffer.alloc(0) }
          : fetch(url, request),
    });
    const link = await connections.begin(owner, { provider: 'acme', name: '', scopes: [] });
    const opener = { ...owner, browserId: 'browser' };
    const ticket = link.connectUri.split('/').at(-1) ?? '';
    const callback = new URL(await approve(await connections.flow.open(opener, ticket)));
    const callbackId = callback.pathname.split('/').at(-1) ?? '';
    const finished = connections.flow.finish(opener, callbackId, readCallback(callback));
    await expect(finished).rejects.toMatchObject({ code: 'KX_CONNECT_FAILED' });

    const { connection } = await room.connections.get(owner, id);
    expect(connection).toMatchObject({ state: 'connected', account: 'upstream-user', version: 1 });
    const { accessTokens } = await room.upstream.issuedTokens();
    expect(await isAlive(accessTokens.at(-1) ?? '')).toBe(false);
  });

  test("another member's connection cannot be tried", async () => {
    await addWithWhoAmI();
    const id = await room.connect(owner);
    const tried = room.connections.test(await org.addUser('member'), id);
    await expect(tried).rejects.toMatchObject({ code: 'KX_CONNECTION_NOT_FOUND' });
  });
});
