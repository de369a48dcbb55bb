import { createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { createId, createStreamWriter, type EventFields } from '@kontext/audit';
import { createDpopProof } from '@kontext/oauth';
import { ApprovalService, AuditService, OrganisationService, SessionService } from '@kontext/protocol';
import { approveInBrowser } from '@kontext/testkit';
import { createLocalKms } from '@kontext/vault';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { wantedForTest } from '../approvals/test-approvals.ts';
import { addMember, type NewLocalAccount } from '../login/local-accounts.ts';
import { connections, leases, providers } from '../store/schema.ts';
import { makeTestLease } from '../store/test-lease.ts';
import { makeTestProvider } from '../store/test-provider.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';
import { logIn } from '../test-login.ts';
import { wire } from '../wiring.ts';

describe.each(testStores())('lineage through the app on $kind', ({ open }) => {
  let opened: TestStore;
  let app: TestApp;
  let owner: Person;
  let ann: Person;
  let bob: Person;
  let annAccount: NewLocalAccount;
  beforeAll(async () => {
    opened = await open();
    const kms = createLocalKms(new Map([['test', Buffer.alloc(32, 7)]]), 'test');
    app = await startTestApp(opened.store, { wire, kms });
    const memberOf = (name: string) =>
      addMember(
        opened.store,
        { orgSlug: 'default', name, role: 'member', groups: [], withPasscode: true },
        Date.now(),
      );
    annAccount = await memberOf('ann');
    owner = await personOf(app.owner);
    ann = await personOf(annAccount);
    bob = await personOf(await memberOf('bob'));
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });

  type Person = Awaited<ReturnType<typeof personOf>>;
  async function personOf(account: NewLocalAccount) {
    const { accessToken, jwk: key } = await logIn({ ...app, owner: account });
    const prove: Interceptor = (next) => async (request) => {
      request.header.set('authorization', `DPoP ${accessToken}`);
      const proof = { key, htm: 'POST', htu: request.url, accessToken, nowMs: Date.now() };
      request.header.set('dpop', await createDpopProof(proof));
      return next(request);
    };
    const transport = createConnectTransport({
      ...{ baseUrl: app.apiUrl, httpVersion: '1.1', interceptors: [prove] },
    });
    const { userId, orgId } = await createClient(OrganisationService, transport).getCaller({});
    return {
      ...{ userId, orgId },
      approvals: createClient(ApprovalService, transport),
      sessions: createClient(SessionService, transport),
      audit: createClient(AuditService, transport),
    };
  }

  /** Opens a session whose command writes what it likes into its events. */
  async function openSession({ sessions, audit, userId, orgId }: Person) {
    const started = await sessions.openSession({ agent: 'claude', hostname: 'laptop' });
    const [id, streamId] = [started.session?.id ?? '', started.clientStreamId];
    const writer = createStreamWriter({ orgId, streamId, from: { nonce: started.clientStreamNonce } });
    const write = async (fields: Partial<EventFields>): Promise<string> => {
      const call = { kind: 'tool_call.decided' as const, tool: 'Bash', decision: 'allow' as const };
      const event = writer.append({ ...call, session: id, user: userId, ...fields }, null);
      const { prev, header, chain } = event;
      await audit.appendEvents({ streamId, prev, events: [{ seq: BigInt(event.seq), header, chain }] });
      return event.id;
    };
    return { id, write };
  }

  /** Asks for an approval of a call, has it decided in the browser, and uses it. */
  async function approve(sessionId: string, toolUseId: string, reason: string): Promise<string> {
    const wanted = wantedForTest(sessionId, { rule: 'local.mine', toolUseId, command: toolUseId });
    const request = { ...wanted, policyVersion: 1n, callHash: Buffer.from(wanted.callHash) };
    const { approval } = await ann.approvals.requestApproval(request);
    await approveInBrowser({ url: approval?.url ?? '', ...annAccount, reason });
    const approvalId = approval?.id ?? '';
    await ann.approvals.waitApproval({ approvalId, waitSeconds: 1, use: true });
    return approvalId;
  }

  test('a call that was approved hangs below the approval: who, when and why', async () => {
    const session = await openSession(ann);
    const approvalId = await approve(session.id, 'toolu_asked', 'the release\nis due');
    const named = await session.write({
      toolUse: 'toolu_other',
      lineage: { approval: approvalId as never },
    });
    const asked = await session.write({ toolUse: 'toolu_asked' });
    const free = await session.write({ toolUse: 'toolu_free' });

    for (const reader of [ann, owner]) {
      const { nodes } = await reader.audit.getLineage({ id: asked });
      const approval = nodes.find(({ type }) => type === 'approval');
      expect(approval).toMatchObject({
        ...{ id: approvalId, parentId: session.id, userName: 'ann', tool: 'Bash' },
        label: 'approval of Bash: used by ann: the release is due',
      });
      expect(Math.abs(Number(approval?.at?.seconds ?? 0n) - Date.now() / 1000)).toBeLessThan(3600);
      const parents = new Map(nodes.map(({ id, parentId }) => [id, parentId]));
      expect([named, asked, free].map((id) => parents.get(id))).toEqual([approvalId, approvalId, session.id]);
    }
  });

  test('an approval of another call of the session does not cover one of another tool', async () => {
    const session = await openSession(ann);
    await approve(session.id, 'toolu_bash', '');
    const call = await session.write({ tool: 'Write', toolUse: 'toolu_bash' });

    const { nodes } = await ann.audit.getLineage({ id: call });

    expect(nodes.find(({ id }) => id === call)?.parentId).toBe(session.id);
  });

  test('a client that names what is not its own shows nobody anything of it', async () => {
    const hers = await openSession(ann);
    const approvalId = await approve(hers.id, 'toolu_hers', 'hers alone');
    const { leaseId, connectionId } = await giveLease(hers.id);
    const call = await hers.write({ toolUse: 'toolu_hers' });
    const his = await openSession(bob);
    const lineage = { leases: [leaseId], connection: connectionId, approval: approvalId as never };
    const lies = [
      await his.write({ toolUse: 'toolu_hers', lineage }),
      await his.write({ kind: 'tool_call.failed', decision: null, toolUse: 'toolu_hers', lineage }),
    ];

    for (const id of [...lies, his.id]) {
      for (const reader of [bob, owner]) {
        const { nodes } = await reader.audit.getLineage({ id });
        const shown = JSON.stringify(nodes, (_key, value) =>
          typeof value === 'bigint' ? String(value) : value,
        );
        for (const secret of [approvalId, leaseId, connectionId, hers.id, call, 'hers alone', 'octocat'])
          expect(shown).not.toContain(secret);
        expect(nodes.some((node) => node.id === his.id)).toBe(true);
      }
    }
    const own = (await ann.audit.getLineage({ id: call })).nodes.map(({ id }) => id);
    expect(own).toEqual(expect.arrayContaining([approvalId, leaseId, connectionId]));
    for (const lie of lies) expect(own).not.toContain(lie);
  });

  /** A connection of ann's with a lease for a session of hers. */
  async function giveLease(sessionId: string) {
    const { orgId, userId } = ann;
    const [leaseId, connectionId] = [createId('lea'), createId('con')];
    const createdAt = new Date();
    const provider = makeTestProvider({ orgId, name: `github-${connectionId.slice(-6)}` });
    await opened.store.transaction({ role: 'app', orgId }, async (tx) => {
      await tx.insert(providers).values(provider);
      await tx.insert(connections).values({
        ...{ id: connectionId, orgId, userId, providerId: provider.id, state: 'connected' },
        ...{ account: 'octocat', createdAt, connectedAt: createdAt },
      });
      const lease = { orgId, userId, createdAt, sessionId, connectionId, providerId: provider.id };
      await tx.insert(leases).values(makeTestLease({ ...lease, id: leaseId }));
    });
    return { leaseId, connectionId };
  }
});
