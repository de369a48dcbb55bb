import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  type BrowserAccount,
  createBrowserSessions,
  federatedAcr,
  passcodeAcr,
  sameText,
} from './browser-sessions.ts';

const create = () => {
  const kept = new Map<string, BrowserAccount>();
  const logins = {
    save: async (id: string, account: BrowserAccount) => void kept.set(id, account),
    find: async (id: string) => kept.get(id) ?? null,
    remove: async (id: string) => void kept.delete(id),
  };
  return { kept, sessions: createBrowserSessions(randomBytes(32), logins, () => 1_000) };
};

describe('browser sessions', () => {
  it('keep nothing of a visitor who does not log in', async () => {
    const { kept, sessions } = create();
    const first = await sessions.load(null);
    const again = await sessions.load(first.cookie);
    expect(again).toMatchObject({ id: first.id, csrf: first.csrf, isNew: false, account: null });
    expect(kept.size).toBe(0);
  });

  it('replace the id at login and forget it at logout', async () => {
    const { sessions } = create();
    const before = await sessions.load(null);
    const who = { userId: 'usr_1', orgId: 'org_1', acr: passcodeAcr };
    const login = { ...who, identityProviderId: null, upstreamSid: null };
    const after = await sessions.logIn(before, login);
    expect(after.id).not.toBe(before.id);
    expect((await sessions.load(after.cookie)).account).toEqual({ ...login, loggedInAtMs: 1_000 });
    expect((await sessions.load(before.cookie)).account).toBeNull();
    await sessions.logOut(after);
    expect((await sessions.load(after.cookie)).account).toBeNull();
  });

  it('keep when the person proved who they are, where that was earlier', async () => {
    const { sessions } = create();
    const login = { userId: 'usr_1', orgId: 'org_1', acr: federatedAcr, loggedInAtMs: 400 };
    const upstream = { identityProviderId: 'idp_1', upstreamSid: 'sid' };
    const after = await sessions.logIn(await sessions.load(null), { ...login, ...upstream });
    expect((await sessions.load(after.cookie)).account).toEqual({ ...login, ...upstream });
  });

  it('take no id that was not signed here', async () => {
    const { sessions } = create();
    const ours = await sessions.load(null);
    const theirs = await create().sessions.load(null);
    const forged = [theirs.cookie, ours.id, `${ours.id}.${'A'.repeat(43)}`, `${ours.cookie}x`, ''];
    for (const cookie of forged) expect((await sessions.load(cookie)).isNew, cookie).toBe(true);
  });
});

describe('sameText', () => {
  it('tells texts apart, also of other length', () => {
    expect(sameText('abc', 'abc')).toBe(true);
    expect(sameText('abc', 'abd')).toBe(false);
    expect(sameText('abc', 'ab')).toBe(false);
  });
});
