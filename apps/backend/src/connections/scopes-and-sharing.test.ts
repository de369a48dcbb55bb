import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Caller } from '../caller.ts';
import type { Outcome } from '../credentials/outcome.ts';
import type { TestOrganisation } from '../organisations/test-organisation.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import type { BeginInput } from './begin-connection.ts';
import { approve, openTestRoom, readCallback, type TestRoom } from './test-room.ts';

describe.each(testStores())('scopes and sharing of connections on $kind', ({ open }) => {
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
    await room.addUpstream(owner);
  });
  afterAll(async () => {
    await room?.close();
    await opened?.close();
  });

  const opener = (caller: Caller) => ({ ...caller, browserId: `browser-of-${caller.userId}` });
  const ticketOf = (uri: string) => uri.split('/').at(-1) ?? '';
  const begin = (caller: Caller, change: Partial<BeginInput>) =>
    room.connections.begin(caller, { provider: 'acme', name: '', scopes: [], ...change });
  const connect = async (caller: Caller, change: Partial<BeginInput>) => {
    const link = await begin(caller, change);
    const { flow } = room.connections;
    const callback = new URL(await approve(await flow.open(opener(caller), ticketOf(link.connectUri))));
    const callbackId = callback.pathname.split('/').at(-1) ?? '';
    await flow.finish(opener(caller), callbackId, readCallback(callback));
    return link.connectionId;
  };
  const resolve = async (caller: Caller, scopes: readonly string[]): Promise<Outcome | undefined> => {
    const wanted = { provider: 'acme', resource: '', scopes, delivery: 'inject' } as const;
    const sessionId = await room.openSession(caller);
    return (await room.credentials.resolve(caller, { sessionId, wanted: [wanted], dryRun: false }))
      .outcomes[0];
  };

  test('connecting again asks for what is missing besides what is there, and says which is which', async () => {
    await connect(owner, { scopes: ['openid', 'read'] });
    const link = await begin(owner, { scopes: ['write'], addScopes: true });
    const ticket = ticketOf(link.connectUri);
    expect(await room.connections.flow.show(opener(owner), ticket)).toMatchObject({
      ...{ scopes: ['openid', 'read', 'write'], granted: ['openid', 'read'] },
    });
    const target = new URL(await room.connections.flow.open(opener(owner), ticket));
    expect(target.searchParams.get('scope')).toBe('openid read write');
  });

  test('without asking to add, the scopes asked for are all there will be', async () => {
    await connect(owner, { scopes: ['openid', 'read'] });
    const { connectUri } = await begin(owner, { scopes: ['write'] });
    const shown = await room.connections.flow.show(opener(owner), ticketOf(connectUri));
    expect(shown.scopes).toEqual(['write']);
  });

  test('the link in an error asks for what the placeholder asks for', async () => {
    const refused = await resolve(owner, ['read']);
    if (refused?.ok !== false) throw new Error('not refused');
    const ticket = ticketOf(String(refused.refusal.members.connect_uri));
    expect((await room.connections.flow.show(opener(owner), ticket)).scopes).toEqual(['read']);
  });

  test('a shared connection is used by everybody, shown as such, and needs an administrator', async () => {
    const member = await org.addUser('member');
    await expect(begin(member, { shared: true })).rejects.toMatchObject({ code: 'KX_FORBIDDEN' });
    const link = await begin(owner, { shared: true });
    const shown = await room.connections.flow.show(opener(owner), ticketOf(link.connectUri));
    expect(shown.shared).toBe(true);
    const id = await connect(owner, { shared: true });
    expect(id).toBe(link.connectionId);
    expect(await resolve(member, [])).toMatchObject({ ok: true, connectionId: id });
    const [listed] = await room.connections.list(member);
    expect(listed).toMatchObject({ connection: { id, userId: null }, liveLeases: 1 });
  });

  test('the link of a shared connection opens for whoever asked for it alone', async () => {
    const { connectUri } = await begin(owner, { shared: true });
    const admin = await org.addUser('admin');
    const shown = room.connections.flow.show(opener(admin), ticketOf(connectUri));
    await expect(shown).rejects.toMatchObject({ code: 'KX_FORBIDDEN' });
  });
});
