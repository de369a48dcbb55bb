import type { DescService } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { createDpopProof } from '@kontext/oauth';
import { AuditService, PayloadSetting, SessionService } from '@kontext/protocol';
import { createLocalKms } from '@kontext/vault';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addMember, type NewLocalAccount } from '../login/local-accounts.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';
import { confirming } from '../test-confirm.ts';
import { logIn } from '../test-login.ts';
import { wire } from '../wiring.ts';

describe.each(testStores())('what is kept of payloads, at the router on $kind', ({ open }) => {
  const kms = createLocalKms(new Map([['test', Buffer.alloc(32, 7)]]), 'test');
  let opened: TestStore;
  let app: TestApp;
  let owner: Awaited<ReturnType<typeof clientsOf>>;
  /** The owner as well, but nobody confirms. */
  let alone: typeof owner;
  beforeAll(async () => {
    opened = await open();
    app = await startTestApp(opened.store, { wire, kms });
    [owner, alone] = [await clientsOf(app.owner), await clientsOf(app.owner, false)];
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });

  async function clientsOf(account: NewLocalAccount, confirms = true) {
    const { accessToken, jwk: key } = await logIn({ ...app, owner: account });
    const prove: Interceptor = (next) => async (request) => {
      const htu = `${app.apiUrl}${new URL(request.url).pathname}`;
      request.header.set('authorization', `DPoP ${accessToken}`);
      const proof = { key, htm: 'POST', htu, accessToken, nowMs: Date.now() };
      request.header.set('dpop', await createDpopProof(proof));
      return next(request);
    };
    const interceptors = confirms ? [confirming(account), prove] : [prove];
    const transport = createConnectTransport({ baseUrl: app.apiUrl, httpVersion: '1.1', interceptors });
    const make = <T extends DescService>(service: T) => createClient(service, transport);
    return { audit: make(AuditService), sessions: make(SessionService) };
  }
  const codeOf = (call: Promise<unknown>) =>
    call.then(
      () => 'let through' as const,
      (error: unknown) => ConnectError.from(error).code,
    );

  it('is said to a session when it opens and with each heartbeat', async () => {
    const opening = await owner.sessions.openSession({ agent: 'claude', hostname: 'laptop' });
    expect(opening.payloads).toBe(PayloadSetting.SUMMARY);
    const beat = () => owner.sessions.heartbeatSession({ sessionId: opening.session?.id ?? '' });
    expect((await beat()).payloads).toBe(PayloadSetting.SUMMARY);

    await owner.audit.setAuditSettings({ payloads: PayloadSetting.OMITTED });
    expect((await beat()).payloads).toBe(PayloadSetting.OMITTED);
    await owner.audit.setAuditSettings({ payloads: PayloadSetting.FULL });
    expect((await beat()).payloads).toBe(PayloadSetting.FULL);
    const next = await owner.sessions.openSession({ agent: 'claude', hostname: 'laptop' });
    expect(next.payloads).toBe(PayloadSetting.FULL);
  });

  it('is read with what there is to choose from, and changed where something is given', async () => {
    const { settings } = await owner.audit.setAuditSettings({ retentionClass: 'days-90' });
    expect(settings).toMatchObject({
      payloads: PayloadSetting.FULL,
      retentionClass: 'days-90',
      changedBy: app.owner.userId,
      classes: [
        { name: 'standard', days: 0 },
        { name: 'days-30', days: 30 },
        { name: 'days-90', days: 90 },
        { name: 'days-365', days: 365 },
      ],
    });
    expect((await owner.audit.getAuditSettings({})).settings).toEqual(settings);
  });

  it('refuses a setting and a class it does not know', async () => {
    const unknown = owner.audit.setAuditSettings({ payloads: 9 as PayloadSetting });
    expect(await codeOf(unknown)).toBe(Code.InvalidArgument);
    expect(await codeOf(owner.audit.setAuditSettings({ retentionClass: 'hold' }))).toBe(Code.InvalidArgument);
  });

  it('is changed, erased and held by nobody who has not confirmed it in a browser', async () => {
    const { session } = await owner.sessions.openSession({ agent: 'claude', hostname: 'laptop' });
    const { id: sessionId = '' } = session ?? {};
    for (const call of [
      () => alone.audit.setAuditSettings({ payloads: PayloadSetting.OMITTED }),
      () => alone.audit.erasePayloads({ sessionId, reason: 'r' }),
      () => alone.audit.holdPayloads({ sessionId, hold: true, reason: 'r' }),
    ]) {
      await expect(call()).rejects.toThrow(/confirm in the browser to /);
    }
    expect((await owner.audit.getAuditSettings({})).settings?.payloads).toBe(PayloadSetting.FULL);

    expect(await owner.audit.holdPayloads({ sessionId, hold: true, reason: 'r' })).toMatchObject({
      payloads: 1n,
    });
    expect(await owner.audit.erasePayloads({ sessionId, reason: 'r' })).toMatchObject({
      erased: 0n,
      held: 1n,
    });
    await owner.audit.holdPayloads({ sessionId, hold: false, reason: 'r' });
    expect(await owner.audit.erasePayloads({ sessionId, reason: 'r' })).toMatchObject({
      erased: 1n,
      held: 0n,
    });
  });

  it('is read by overseers and changed by guardians alone', async () => {
    const clients = new Map<string, typeof owner>();
    for (const role of ['security', 'auditor', 'member'] as const) {
      const wanted = { orgSlug: 'default', name: `a-${role}`, role, groups: [], withPasscode: true };
      clients.set(role, await clientsOf(await addMember(opened.store, wanted, Date.now())));
    }
    const codes = async (role: string) => {
      const audit = clients.get(role)?.audit;
      return [
        await codeOf(audit?.getAuditSettings({}) ?? Promise.reject()),
        await codeOf(audit?.setAuditSettings({ retentionClass: 'standard' }) ?? Promise.reject()),
      ];
    };
    expect(await codes('security')).toEqual(['let through', 'let through']);
    expect(await codes('auditor')).toEqual(['let through', Code.PermissionDenied]);
    expect(await codes('member')).toEqual([Code.PermissionDenied, Code.PermissionDenied]);
  });
});
