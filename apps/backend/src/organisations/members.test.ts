import { KontextError } from '@kontext/errors';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Caller } from '../caller.ts';
import { listAdminEvents } from '../store/test-events.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { createMembers, type Members } from './members.ts';
import { createTestOrganisation, type TestOrganisation } from './test-organisation.ts';

describe.each(testStores())('members on $kind', ({ open }) => {
  let opened: TestStore;
  let org: TestOrganisation;
  let members: Members;
  beforeAll(async () => {
    opened = await open();
    members = createMembers({
      store: opened.store,
      appended: { notify: () => undefined },
      nowMs: Date.now,
    });
  });
  afterAll(() => opened?.close());
  beforeEach(async () => {
    org = await createTestOrganisation(opened.store, new Date());
  });

  const codeOf = async (work: Promise<unknown>) => {
    const error = await work.then(
      () => null,
      (caught: unknown) => caught,
    );
    return error instanceof KontextError ? error.code : `not refused: ${String(error)}`;
  };
  const roleOf = async ({ userId }: Caller) => {
    const { members: all } = await members.list(org.owner, { pageSize: 0, pageToken: '' });
    return all.find((member) => member.userId === userId)?.role;
  };

  it('lists people by name, page by page, those of other organisations never', async () => {
    await createTestOrganisation(opened.store, new Date());
    for (const role of ['admin', 'auditor', 'auditor', 'member'] as const) await org.addUser(role);
    const seen: string[] = [];
    let pageToken = '';
    do {
      const page = await members.list(org.owner, { pageSize: 2, pageToken });
      expect(page.members.length).toBeLessThanOrEqual(2);
      seen.push(...page.members.map(({ name }) => name));
      pageToken = page.next;
    } while (pageToken !== '');
    expect(seen).toEqual(['admin', 'auditor', 'auditor', 'member', 'owner']);
    const [first] = (await members.list(org.owner, { pageSize: 1, pageToken: '' })).members;
    expect(first).toMatchObject({
      ...{ name: 'admin', role: 'admin', groups: [], suspendedAt: null, lastLoginAt: null },
      ...{ identityProvider: null, liveSessions: 0 },
    });
  });

  it.each([
    [{ pageSize: 201, pageToken: '' }],
    [{ pageSize: -1, pageToken: '' }],
    [{ pageSize: 1, pageToken: 'x' }],
    [{ pageSize: 1, pageToken: Buffer.from('["a","b"]').toString('base64url') }],
  ])('refuses the page %j', async (page) => {
    expect(await codeOf(members.list(org.owner, page))).toBe('KX_REQUEST_INVALID');
  });

  it('changes role and groups, on record', async () => {
    const bob = await org.addUser('member');
    const changed = await members.set(org.owner, {
      ...{ userId: bob.userId, role: 'security', groups: ['ops', 'ops', 'on call'] },
    });
    expect(changed).toMatchObject({ role: 'security', groups: ['ops', 'on call'] });
    expect((await listAdminEvents(opened.store, org.orgId)).at(-1)).toMatchObject({
      kind: 'member.changed',
      user: org.owner.userId,
      facts: { member: bob.userId, from: 'member', role: 'security' },
    });
  });

  it.each([
    ['an unknown role', { role: 'root' }, 'KX_REQUEST_INVALID'],
    ['no role', { role: '' }, 'KX_REQUEST_INVALID'],
    ['a group with a control character', { groups: ['a\u0007'] }, 'KX_REQUEST_INVALID'],
    ['an empty group', { groups: [''] }, 'KX_REQUEST_INVALID'],
    ['101 groups', { groups: Array.from({ length: 101 }, (_, i) => `g${i}`) }, 'KX_REQUEST_INVALID'],
    ['nobody', { userId: '' }, 'KX_NOT_FOUND'],
    ['an id of no kind', { userId: "' OR 1=1 --" }, 'KX_NOT_FOUND'],
  ])('refuses %s', async (_situation, change, code) => {
    const { userId } = await org.addUser('member');
    expect(await codeOf(members.set(org.owner, { userId, role: 'member', groups: [], ...change }))).toBe(
      code,
    );
  });

  it('touches nobody of another organisation', async () => {
    const other = await createTestOrganisation(opened.store, new Date());
    const bob = await other.addUser('member');
    const change = { userId: bob.userId, role: 'admin', groups: [] };
    expect(await codeOf(members.set(org.owner, change))).toBe('KX_NOT_FOUND');
    expect(await codeOf(members.suspend(org.owner, bob.userId))).toBe('KX_NOT_FOUND');
    expect(await codeOf(members.restore(org.owner, bob.userId))).toBe('KX_NOT_FOUND');
  });

  it('lets only an owner make, change, suspend or restore an owner', async () => {
    const [admin, security, bob] = [
      await org.addUser('admin'),
      await org.addUser('security'),
      await org.addUser('member'),
    ];
    const owner2 = await org.addUser('owner');
    expect(await codeOf(members.set(admin, { userId: bob.userId, role: 'owner', groups: [] }))).toBe(
      'KX_FORBIDDEN',
    );
    expect(await codeOf(members.set(admin, { userId: admin.userId, role: 'owner', groups: [] }))).toBe(
      'KX_FORBIDDEN',
    );
    expect(await codeOf(members.set(admin, { userId: owner2.userId, role: 'member', groups: [] }))).toBe(
      'KX_FORBIDDEN',
    );
    for (const who of [admin, security]) {
      expect(await codeOf(members.suspend(who, owner2.userId))).toBe('KX_FORBIDDEN');
    }
    await members.suspend(org.owner, owner2.userId);
    expect(await codeOf(members.restore(admin, owner2.userId))).toBe('KX_FORBIDDEN');
    await members.restore(org.owner, owner2.userId);
    await members.set(admin, { userId: bob.userId, role: 'admin', groups: [] });
    expect(await roleOf(bob)).toBe('admin');
  });

  it('keeps the last owner who can log in', async () => {
    const self = { userId: org.owner.userId, role: 'admin', groups: [] };
    expect(await codeOf(members.set(org.owner, self))).toBe('KX_LAST_OWNER');
    const second = await org.addUser('owner');
    await members.suspend(org.owner, second.userId);
    expect(await codeOf(members.set(org.owner, self))).toBe('KX_LAST_OWNER');
    await members.restore(org.owner, second.userId);
    expect(await codeOf(members.suspend(org.owner, org.owner.userId))).toBe('KX_REQUEST_INVALID');
    await members.set(org.owner, self);
    expect(await codeOf(members.suspend(org.owner, second.userId))).toBe('KX_LAST_OWNER');
    expect(await roleOf(second)).toBe('owner');
  });

  it('keeps one of two owners who demote each other at the same time', async () => {
    const second = await org.addUser('owner');
    const results = await Promise.allSettled([
      members.set(org.owner, { userId: second.userId, role: 'member', groups: [] }),
      members.set(second, { userId: org.owner.userId, role: 'member', groups: [] }),
    ]);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect([await roleOf(org.owner), await roleOf(second)].sort()).toEqual(['member', 'owner']);
  });
});
