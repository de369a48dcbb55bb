import { KontextError } from '@kontext/errors';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Caller } from '../caller.ts';
import { createTestOrganisation } from '../organisations/test-organisation.ts';
import { updatePerson } from '../store/queries/identities.ts';
import { listAdminEvents } from '../store/test-events.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { type BrowserAccount, federatedAcr, passcodeAcr } from './browser-sessions.ts';
import { type Confirmations, createConfirmations } from './confirmations.ts';
import { createRateLimiter } from './rate-limiter.ts';
import { confirmationsAsked, type ProtectedAction } from './request-confirmation.ts';

const apiUrl = 'https://kontext.example';
const keys: readonly Buffer[] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
const addAcme: ProtectedAction = {
  action: 'ProviderService/AddProvider',
  message: Buffer.from('the message'),
  summary: 'add the provider "acme"',
  address: '192.0.2.7',
};

describe.each(testStores())('confirmations on $kind', ({ open }) => {
  let opened: TestStore;
  let nowMs: number;
  let owner: Caller;
  let admin: Caller;
  let stranger: Caller;
  let confirmations: Confirmations;

  const create = (withKeys: readonly Buffer[] = keys): Confirmations =>
    createConfirmations({
      store: opened.store,
      limiter: createRateLimiter(opened.store, () => nowMs),
      ...{ apiUrl, keys: withKeys, nowMs: () => nowMs },
    });
  beforeAll(async () => {
    opened = await open();
  });
  afterAll(() => opened?.close());
  beforeEach(async () => {
    nowMs = Date.now();
    const org = await createTestOrganisation(opened.store, new Date(nowMs));
    owner = org.owner;
    admin = await org.addUser('admin');
    stranger = (await createTestOrganisation(opened.store, new Date(nowMs))).owner;
    confirmations = create();
  });

  const atBrowser = ({ userId, orgId }: Caller, more: Partial<BrowserAccount> = {}): BrowserAccount => ({
    ...{ userId, orgId, loggedInAtMs: nowMs, acr: passcodeAcr, identityProviderId: null, upstreamSid: null },
    ...more,
  });
  async function ask(caller = owner, wanted = addAcme) {
    const { code, details } = await confirmations.ask(caller, wanted);
    expect(code).toBe('KX_CONFIRMATION_NEEDED');
    const uri = String(details.confirm_uri);
    return { id: String(details.confirmation_id), token: uri.slice(uri.lastIndexOf('/') + 1), uri, details };
  }
  async function askAndConfirm(caller = owner, wanted = addAcme) {
    const asked = await ask(caller, wanted);
    await confirmations.decide(atBrowser(caller), asked.token, 'confirmed', '192.0.2.8');
    return asked;
  }
  const refusal = async (work: Promise<unknown>) => {
    const error = await work.then(
      () => null,
      (caught: unknown) => caught,
    );
    if (!(error instanceof KontextError)) throw new Error(`not refused: ${String(error)}`);
    return { code: error.code, reason: error.details.failure_reason };
  };

  it('refuses with every member a client needs to ask a person', async () => {
    const { details, uri, id } = await ask();
    expect(details).toEqual({
      oauth_error: 'insufficient_user_authentication',
      acr_values: 'urn:kontext:acr:browser',
      max_age: 300,
      confirmation_id: id,
      confirm_uri: uri,
    });
    expect(id).toMatch(/^cnf_/);
    expect(uri).toMatch(/^https:\/\/kontext\.example\/confirm\/[\w-]{43}$/);
  });

  it('lets the confirmed request through once', async () => {
    const { id } = await askAndConfirm();
    expect(await confirmations.stateOf(owner, id)).toBe('confirmed');
    await confirmations.take(owner, id, addAcme);
    expect(await confirmations.stateOf(owner, id)).toBe('used');
    expect(await refusal(confirmations.take(owner, id, addAcme))).toEqual({
      code: 'KX_CONFIRMATION_INVALID',
      reason: 'used',
    });
  });

  it('lets one of twenty through that come at the same time', async () => {
    const { id } = await askAndConfirm();
    const all = await Promise.allSettled(
      Array.from({ length: 20 }, () => confirmations.take(owner, id, addAcme)),
    );
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('refuses what nobody confirmed, what was denied, and what came too late', async () => {
    const pending = await ask();
    expect(await refusal(confirmations.take(owner, pending.id, addAcme))).toEqual({
      code: 'KX_CONFIRMATION_INVALID',
      reason: 'pending',
    });
    const denied = await ask();
    await confirmations.decide(atBrowser(owner), denied.token, 'denied', '192.0.2.8');
    expect(await refusal(confirmations.take(owner, denied.id, addAcme))).toEqual({
      code: 'KX_CONFIRMATION_DENIED',
      reason: 'denied',
    });
    const late = await askAndConfirm();
    nowMs += 600_000;
    expect(await confirmations.stateOf(owner, late.id)).toBe('expired');
    expect(await refusal(confirmations.take(owner, late.id, addAcme))).toEqual({
      code: 'KX_CONFIRMATION_EXPIRED',
      reason: 'expired',
    });
  });

  it('is worth nothing to a colleague, to another organisation, or to another login of the same person', async () => {
    const { id } = await askAndConfirm();
    const none = { code: 'KX_CONFIRMATION_INVALID', reason: 'unknown' };
    expect(await refusal(confirmations.take(admin, id, addAcme))).toEqual(none);
    expect(await refusal(confirmations.take(stranger, id, addAcme))).toEqual(none);
    expect(await refusal(confirmations.take(owner, 'cnf_none', addAcme))).toEqual(none);
    const elsewhere = { ...owner, grantId: 'another grant' };
    expect(await refusal(confirmations.take(elsewhere, id, addAcme))).toMatchObject({
      reason: 'other_login',
    });
    for (const who of [admin, stranger]) {
      expect(await refusal(confirmations.stateOf(who, id))).toMatchObject({ code: 'KX_NOT_FOUND' });
    }
    await confirmations.take(owner, id, addAcme);
  });

  it('is worth nothing for another method or another message, be it by one bit', async () => {
    const { id } = await askAndConfirm();
    const other = { code: 'KX_CONFIRMATION_INVALID', reason: 'other_request' };
    const elsewhere = { ...addAcme, action: 'ProviderService/RemoveProvider' };
    expect(await refusal(confirmations.take(owner, id, elsewhere))).toEqual(other);
    const bits = fc.integer({ min: 0, max: addAcme.message.length * 8 - 1 });
    await fc.assert(
      fc.asyncProperty(bits, async (bit) => {
        const message = Buffer.from(addAcme.message);
        message[bit >> 3] = (message[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(await refusal(confirmations.take(owner, id, { ...addAcme, message }))).toEqual(other);
      }),
      { numRuns: 20 },
    );
    for (const message of [Buffer.alloc(0), Buffer.from('the message '), Buffer.from('the messag')]) {
      expect(await refusal(confirmations.take(owner, id, { ...addAcme, message }))).toEqual(other);
    }
    await confirmations.take(owner, id, addAcme);
  });

  it('keeps no message and no link in the store', async () => {
    const secret = { ...addAcme, message: Buffer.from('planted-4eC39HqLyjWDarjtT1zdp7dc') };
    const { token } = await ask(owner, secret);
    const rows = await opened.store.transaction({ role: 'app', orgId: owner.orgId }, (tx) =>
      tx.execute('SELECT * FROM confirmations'),
    );
    const text = JSON.stringify(rows.rows);
    expect(text).toContain('acme');
    expect(text).not.toContain('planted');
    expect(text).not.toContain(token);
  });

  it('outlives a rotation of the key, and falls with the key', async () => {
    const [first = Buffer.alloc(0), second = Buffer.alloc(0)] = keys;
    const { id } = await askAndConfirm();
    expect(await refusal(create([second, Buffer.alloc(32, 3)]).take(owner, id, addAcme))).toMatchObject({
      reason: 'other_request',
    });
    await create([second, first]).take(owner, id, addAcme);
  });

  it('is given back to an identical request when the action failed for a reason of its own', async () => {
    const { id } = await askAndConfirm();
    await confirmations.take(owner, id, addAcme);
    await confirmations.giveBack(owner, id, 'KX_PROVIDER_EXISTS');
    const message = Buffer.from('another');
    expect(await refusal(confirmations.take(owner, id, { ...addAcme, message }))).toMatchObject({
      reason: 'other_request',
    });
    await confirmations.take(owner, id, addAcme);
  });

  it('is decided by its requester alone, once', async () => {
    const { token } = await ask();
    for (const who of [admin, stranger]) {
      const decide = confirmations.decide(atBrowser(who), token, 'confirmed', '');
      expect(await refusal(decide)).toMatchObject({ code: 'KX_NOT_FOUND' });
      expect(await refusal(confirmations.show(atBrowser(who), token))).toMatchObject({
        code: 'KX_NOT_FOUND',
      });
    }
    await confirmations.decide(atBrowser(owner, { acr: federatedAcr }), token, 'denied', '');
    expect(await refusal(confirmations.decide(atBrowser(owner), token, 'confirmed', ''))).toMatchObject({
      code: 'KX_CONFIRMATION_DENIED',
    });
    const confirmed = await askAndConfirm();
    expect(
      await refusal(confirmations.decide(atBrowser(owner), confirmed.token, 'confirmed', '')),
    ).toMatchObject({ code: 'KX_CONFIRMATION_INVALID' });
    expect(await confirmations.show(atBrowser(owner), confirmed.token)).toMatchObject({ state: 'decided' });
  });

  it('is not decided by an old login, by that of a device, or after ten minutes', async () => {
    const { token } = await ask();
    const logins = [
      { loggedInAtMs: nowMs - 300_001 },
      { acr: 'urn:kontext:acr:device' },
      { acr: 'urn:kontext:acr:browser' },
      { acr: '' },
    ];
    for (const login of logins) {
      const decide = confirmations.decide(atBrowser(owner, login), token, 'confirmed', '');
      expect(await refusal(decide)).toMatchObject({ code: 'KX_FORBIDDEN' });
    }
    nowMs += 600_000;
    expect(await refusal(confirmations.decide(atBrowser(owner), token, 'confirmed', ''))).toMatchObject({
      code: 'KX_CONFIRMATION_EXPIRED',
    });
    expect(await confirmations.show(atBrowser(owner), token)).toMatchObject({ state: 'expired' });
  });

  it('shows people by name', async () => {
    const { token } = await ask(owner, { ...addAcme, summary: `make ${admin.userId} "owner"` });
    expect(await confirmations.show(atBrowser(owner), token)).toMatchObject({
      summary: `make admin (${admin.userId}) "owner"`,
      address: '192.0.2.7',
      machine: null,
      ageSeconds: 0,
    });
  });

  it('does not let long names push the rest of the sentence off the page', async () => {
    await opened.store.transaction({ role: 'system', orgId: null }, (tx) =>
      updatePerson(tx, admin.userId, { name: 'a'.repeat(250), email: '' }),
    );
    const summary = `${`${admin.userId} `.repeat(20)}for the agents "every"`;
    expect(await refusal(confirmations.ask(owner, { ...addAcme, summary }))).toMatchObject({
      code: 'KX_REQUEST_INVALID',
    });
  });

  it('does not ask for what nobody could read, nor without end', async () => {
    const long = { ...addAcme, summary: 'a'.repeat(4001) };
    expect(await refusal(confirmations.ask(owner, long))).toMatchObject({ code: 'KX_REQUEST_INVALID' });
    for (let i = 1; i < confirmationsAsked.limit; i += 1) await ask();
    expect(await refusal(confirmations.ask(owner, addAcme))).toMatchObject({ code: 'KX_RATE_LIMITED' });
    await ask(admin);
  });

  it('is on record from question to use, refused attempts too', async () => {
    const { id } = await askAndConfirm();
    await refusal(confirmations.take(admin, id, addAcme));
    await confirmations.take(owner, id, addAcme);
    await refusal(confirmations.take(owner, id, addAcme));
    const events = await listAdminEvents(opened.store, owner.orgId);
    const told = events
      .filter(({ kind }) => kind.startsWith('approval.'))
      .map(({ kind, user, facts }) => [kind, user, facts.decision ?? null, facts.reason ?? null]);
    expect(told).toEqual([
      ['approval.requested', owner.userId, null, null],
      ['approval.decided', owner.userId, 'confirmed', null],
      ['approval.decided', admin.userId, 'refused', 'there is no such confirmation of yours'],
      ['approval.decided', owner.userId, 'used', null],
      ['approval.decided', owner.userId, 'refused', 'it was used before'],
    ]);
  });
});
