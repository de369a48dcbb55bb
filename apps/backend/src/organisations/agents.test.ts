import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createAuditService } from '../audit/audit-service.ts';
import { openTestRoom, type TestRoom } from '../connections/test-room.ts';
import { leases } from '../store/schema.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { createAgentService } from './agents.ts';
import type { TestOrganisation } from './test-organisation.ts';

describe.each(testStores())('agents on $kind', ({ open }) => {
  let opened: TestStore;
  let room: TestRoom;
  let org: TestOrganisation;
  const service = () =>
    createAgentService({ store: room.store, appended: room.deps.appended, nowMs: room.nowMs });
  const ci = { name: 'ci', description: 'the build', ceilingScopes: ['read'], maxTtlSeconds: 120 };
  beforeAll(async () => {
    opened = await open();
    room = await openTestRoom(opened);
  });
  beforeEach(async () => {
    org = await room.organisation();
  });
  afterAll(async () => {
    await room?.close();
    await opened?.close();
  });

  test('an agent is registered, changed, listed with its providers, and every change is on record', async () => {
    await room.addUpstream(org.owner);
    expect(await service().put(org.owner, ci)).toMatchObject({
      agent: { name: 'ci', builtIn: false, ceilingScopes: ['read'], maxTtlSeconds: 120 },
      providers: [],
    });
    await service().put(org.owner, { ...ci, ceilingScopes: [], maxTtlSeconds: 0 });
    const listed = await service().list(org.owner);
    expect(listed.map(({ agent }) => agent.name)).toEqual(['ci', 'claude', 'run']);
    expect(listed[0]?.agent).toMatchObject({ ceilingScopes: null, maxTtlSeconds: 3600 });
    expect(listed[1]).toMatchObject({ agent: { builtIn: true }, providers: ['acme'] });
    const audit = createAuditService({ store: room.store });
    const { streams } = await audit.listStreams(org.owner, { sessionId: null, pageSize: 50, cursor: '' });
    const admin = streams.find(({ kind }) => kind === 'admin');
    const page = { streamId: admin?.id ?? '', fromSeq: 0, pageSize: 0 };
    const { events } = await audit.readStream(org.owner, page);
    const changes = events.filter(({ kind }) => kind === 'agent.changed').map(({ payload }) => payload);
    expect(changes.map((payload) => JSON.parse(payload ?? '').change)).toEqual(['registered', 'changed']);
  });

  test('agents of another organisation are neither seen nor changed', async () => {
    const other = await room.organisation();
    await service().put(org.owner, ci);
    expect((await service().list(other.owner)).map(({ agent }) => agent.name)).toEqual(['claude', 'run']);
    await expect(service().disable(other.owner, 'ci')).rejects.toMatchObject({ code: 'KX_AGENT_UNKNOWN' });
  });

  test.each([
    ['a name with capitals', { name: 'CI' }],
    ['a name beyond 63', { name: 'a'.repeat(64) }],
    ['a description with a line break', { description: 'a\nb' }],
    ['a description beyond 256', { description: 'a'.repeat(257) }],
    ['a scope with a space', { ceilingScopes: ['a b'] }],
    ['too many scopes', { ceilingScopes: Array.from({ length: 201 }, (_, i) => `s${i}`) }],
    ['too short a life', { maxTtlSeconds: 59 }],
    ['too long a life', { maxTtlSeconds: 43_201 }],
  ])('refuses %s', async (_what, change) => {
    const put = service().put(org.owner, { ...ci, ...change });
    await expect(put).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
  });

  test('a disabled agent loses sessions and leases, opens none, and can be enabled again', async () => {
    await room.addUpstream(org.owner);
    await room.connect(org.owner);
    const sessionId = await room.openSession(org.owner);
    const input = {
      ...{ sessionId, dryRun: false },
      wanted: [{ provider: 'acme', resource: '', scopes: [], delivery: 'inject' as const }],
    };
    expect((await room.credentials.resolve(org.owner, input)).outcomes[0]).toMatchObject({ ok: true });
    expect(await service().disable(org.owner, 'claude')).toEqual({ sessions: 1, leases: 1 });
    expect(await service().disable(org.owner, 'claude')).toEqual({ sessions: 0, leases: 0 });
    await expect(room.openSession(org.owner)).rejects.toMatchObject({ code: 'KX_AGENT_DISABLED' });
    const rows = await room.store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
      tx.select().from(leases),
    );
    expect(rows.map(({ state, endReason }) => [state, endReason])).toEqual([['ended', 'agent_disabled']]);
    await service().enable(org.owner, 'claude');
    await expect(room.openSession(org.owner)).resolves.toMatch(/^ses_/);
  });

  test('ceilings hold for what is handed out: scopes of agent and attachment, lives of agent and provider', async () => {
    await room.addUpstream(org.owner);
    await room.connect(org.owner);
    const wanted = [{ provider: 'acme', resource: '', scopes: [], delivery: 'inject' as const }];
    const resolve = async () => {
      const sessionId = await room.openSession(org.owner);
      const { outcomes } = await room.credentials.resolve(org.owner, { sessionId, wanted, dryRun: false });
      const [outcome] = outcomes;
      return outcome?.ok ? outcome.expiresInSeconds : outcome?.refusal.code;
    };
    const put = (change: object) =>
      service().put(org.owner, { ...ci, name: 'claude', ceilingScopes: [], maxTtlSeconds: 0, ...change });
    await put({ maxTtlSeconds: 120 });
    expect(await resolve()).toBe(120);
    await put({ ceilingScopes: ['read'] });
    // Its token has more rights, and cannot be narrowed.
    expect(await resolve()).toBe('KX_SCOPE_EXCEEDED');
    await put({ ceilingScopes: ['openid', 'read', 'write'] });
    expect(await resolve()).toBeGreaterThan(500);
    await room.connections.attachProvider(org.owner, 'acme', { agent: 'claude', scopes: ['read'] });
    expect(await resolve()).toBe('KX_SCOPE_EXCEEDED');
  });

  test('an agent that is not registered opens nothing', async () => {
    const input = { agent: 'nobody', agentVersion: '1', hostname: 'h', cliVersion: '1', mode: null };
    const open = room.sessions.open(org.owner, { ...input, hookConfigHash: '' });
    await expect(open).rejects.toMatchObject({ code: 'KX_AGENT_UNKNOWN' });
  });
});
