import type { DescService } from '@bufbuild/protobuf';
import { ConnectError, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { createDpopProof } from '@kontext/oauth';
import {
  ApprovalLifetime,
  ApprovalService,
  ApprovalState,
  ErrorDetailSchema,
  SessionService,
  WebhookService,
} from '@kontext/protocol';
import { approveInBrowser } from '@kontext/testkit';
import { createLocalKms } from '@kontext/vault';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { wantedForTest } from '../approvals/test-approvals.ts';
import { addMember, type NewLocalAccount } from '../login/local-accounts.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';
import { confirming } from '../test-confirm.ts';
import { logIn } from '../test-login.ts';
import { wire } from '../wiring.ts';

describe.each(testStores())('approvals and webhooks at the router on $kind', ({ open }) => {
  const kms = createLocalKms(new Map([['test', Buffer.alloc(32, 7)]]), 'test');
  let opened: TestStore;
  let app: TestApp;
  let owner: Awaited<ReturnType<typeof clientsOf>>;
  let ann: Awaited<ReturnType<typeof clientsOf>>;
  let annAccount: NewLocalAccount;
  let sessionId: string;
  beforeAll(async () => {
    opened = await open();
    app = await startTestApp(opened.store, { wire, kms });
    const member = { orgSlug: 'default', name: 'ann', role: 'member', groups: [], withPasscode: true };
    annAccount = await addMember(opened.store, member, Date.now());
    [owner, ann] = [await clientsOf(app.owner), await clientsOf(annAccount)];
    sessionId = (await ann.sessions.openSession({ agent: 'claude', hostname: 'laptop' })).session?.id ?? '';
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });

  async function clientsOf(account: NewLocalAccount) {
    const { accessToken, jwk: key } = await logIn({ ...app, owner: account });
    const prove: Interceptor = (next) => async (request) => {
      request.header.set('authorization', `DPoP ${accessToken}`);
      const proof = { key, htm: 'POST', htu: request.url, accessToken, nowMs: Date.now() };
      request.header.set('dpop', await createDpopProof(proof));
      return next(request);
    };
    const interceptors = [confirming(account), prove];
    const transport = createConnectTransport({ baseUrl: app.apiUrl, httpVersion: '1.1', interceptors });
    const make = <T extends DescService>(service: T) => createClient(service, transport);
    return {
      approvals: make(ApprovalService),
      sessions: make(SessionService),
      webhooks: make(WebhookService),
    };
  }
  const request = (change: Partial<Parameters<typeof wantedForTest>[1]> = {}) => {
    const { policyVersion: _, ...wanted } = wantedForTest(sessionId, { rule: 'local.mine', ...change });
    return { ...wanted, policyVersion: 1n, callHash: Buffer.from(wanted.callHash) };
  };
  const codeOf = (call: Promise<unknown>) =>
    call.then(
      () => 'let through',
      (error: unknown) => ConnectError.from(error).findDetails(ErrorDetailSchema)[0]?.code,
    );

  it('asks, waits, and tells only the call that used an approval that it may run', async () => {
    const { approval } = await ann.approvals.requestApproval(request());
    expect(approval).toMatchObject({
      ...{ state: ApprovalState.PENDING, userName: 'ann', agent: 'claude', tool: 'Bash', mineToDecide: true },
      ...{ approver: '', fourEyes: false, lifetime: ApprovalLifetime.UNSPECIFIED, policyVersion: 1n },
      url: `${app.apiUrl}/approvals/${approval?.id}`,
    });
    const approvalId = approval?.id ?? '';
    const waiting = ann.approvals.waitApproval({ approvalId, waitSeconds: 25, use: true });
    await approveInBrowser({ url: approval?.url ?? '', ...annAccount });
    expect((await waiting).approval).toMatchObject({
      ...{ state: ApprovalState.APPROVED, lifetime: ApprovalLifetime.ONCE, decidedByName: 'ann' },
      mineToDecide: false,
    });
    const again = await ann.approvals.waitApproval({ approvalId, waitSeconds: 1, use: true });
    expect(again.approval?.state).toBe(ApprovalState.USED);
    expect((await owner.approvals.getApproval({ approvalId })).approval?.state).toBe(ApprovalState.USED);
    expect((await ann.approvals.listApprovals({})).approvals.map(({ id }) => id)).toEqual([approvalId]);
    expect((await owner.approvals.listApprovals({})).approvals).toEqual([]);
  });

  it.each([
    ['an endless wait', { waitSeconds: 26 }, 'KX_REQUEST_INVALID'],
    ['a wait that is none', { waitSeconds: -1 }, 'KX_REQUEST_INVALID'],
    ['an id that is none', { approvalId: 'x' }, 'KX_NOT_FOUND'],
  ])('refuses %s', async (_what, change, code) => {
    const { approval } = await ann.approvals.requestApproval(request({ command: 'x' }));
    const wanted = { approvalId: approval?.id ?? '', waitSeconds: 1, use: false, ...change };
    expect(await codeOf(ann.approvals.waitApproval(wanted))).toBe(code);
  });

  it('refuses a page that is none, a version beyond numbers, and an id that is none', async () => {
    expect(await codeOf(ann.approvals.listApprovals({ pageSize: 201 }))).toBe('KX_REQUEST_INVALID');
    expect(await codeOf(ann.approvals.listApprovals({ pageToken: 'x' }))).toBe('KX_REQUEST_INVALID');
    const huge = { ...request(), policyVersion: 2n ** 60n };
    expect(await codeOf(ann.approvals.requestApproval(huge))).toBe('KX_REQUEST_INVALID');
    expect(await codeOf(ann.approvals.getApproval({ approvalId: 'apr_x' }))).toBe('KX_NOT_FOUND');
  });

  it('adds a webhook with a confirmation, shows its secret once, and hides what lets others write there', async () => {
    const url = 'https://hooks.example/services/T0000/B0000/verysecretpart';
    const { webhook, secret } = await owner.webhooks.addWebhook({ url });
    expect(secret).toMatch(/^whsec_/);
    const { webhooks } = await owner.webhooks.listWebhooks({});
    expect(webhooks).toMatchObject([{ id: webhook?.id, url: 'https://hooks.example/…part', waiting: 0 }]);
    expect(webhooks[0]?.events).toEqual(['approval.requested', 'approval.decided']);
    const webhookId = webhook?.id ?? '';
    for (const call of [
      () => ann.webhooks.addWebhook({ url: 'https://hooks.example/y' }),
      () => ann.webhooks.listWebhooks({}),
      () => ann.webhooks.testWebhook({ webhookId }),
      () => ann.webhooks.removeWebhook({ webhookId }),
    ]) {
      expect(await codeOf(call())).toBe('KX_FORBIDDEN');
    }
    await owner.webhooks.removeWebhook({ webhookId });
    expect((await owner.webhooks.listWebhooks({})).webhooks).toEqual([]);
  });
});
