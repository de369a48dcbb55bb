import { type Client, ConnectError, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { createDpopProof } from '@kontext/oauth';
import { ErrorDetailSchema, Mode, PolicyService, StaleRule } from '@kontext/protocol';
import { createLocalKms } from '@kontext/vault';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addMember, type NewLocalAccount } from '../login/local-accounts.ts';
import { buildPolicyWorker } from '../policies/test-policies.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';
import { confirming } from '../test-confirm.ts';
import { logIn } from '../test-login.ts';
import { wire } from '../wiring.ts';

type Policies = Client<typeof PolicyService>;
const text =
  '@id("team.x")\n@reason("no x")\nforbid (principal, action == Action::"tool_call", resource == Tool::"x");';
const sources = { files: [{ name: 'team.cedar', text }] };
const publication = { version: 1n, mode: Mode.ENFORCE, staleRule: StaleRule.DENY_ALL, reason: 'now' };

describe.each(testStores())('policies over the wire on $kind', ({ open }) => {
  const kms = createLocalKms(new Map([['test', Buffer.alloc(32, 7)]]), 'test');
  let opened: TestStore;
  let app: TestApp;
  let owner: Policies;
  let unconfirmed: Policies;
  let member: Policies;
  beforeAll(async () => {
    opened = await open();
    const file = await buildPolicyWorker();
    app = await startTestApp(opened.store, {
      kms,
      wire: (parts) => wire(parts, parts.store, { file, deadlineMs: 60_000 }),
    });
    const bob = { orgSlug: 'default', name: 'bob', role: 'member', groups: ['web'], withPasscode: true };
    owner = await clientOf(app.owner);
    unconfirmed = await clientOf({ ...app.owner }, false);
    member = await clientOf(await addMember(opened.store, bob, Date.now()));
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });

  async function clientOf(account: NewLocalAccount, confirms = true): Promise<Policies> {
    const { accessToken, jwk: key } = await logIn({ ...app, owner: account });
    const prove: Interceptor = (next) => async (request) => {
      const proof = { key, htm: 'POST', htu: request.url, accessToken, nowMs: Date.now() };
      request.header.set('authorization', `DPoP ${accessToken}`);
      request.header.set('dpop', await createDpopProof(proof));
      return next(request);
    };
    const interceptors = [...(confirms ? [confirming(account)] : []), prove];
    const transport = createConnectTransport({ baseUrl: app.apiUrl, httpVersion: '1.1', interceptors });
    return createClient(PolicyService, transport);
  }
  const codeOf = async (call: Promise<unknown>) => {
    const error = ConnectError.from(await call.catch((caught: unknown) => caught));
    return error.findDetails(ErrorDetailSchema)[0]?.code ?? error.rawMessage;
  };

  it('leads a policy from draft to enforcement of one group and back, confirmed by a person', async () => {
    const stop = new AbortController();
    const seen: bigint[] = [];
    const watching = (async () => {
      for await (const { seq } of member.watchPolicy({}, { signal: stop.signal })) seen.push(seq);
    })().catch(() => undefined);
    await expect.poll(() => seen).toEqual([1n]);

    const { version, findings } = await owner.putPolicyDraft({ sources, reason: 'first' });
    expect(version).toMatchObject({ version: 2n, rules: 1, reason: 'first' });
    expect(findings.filter(({ error }) => error)).toEqual([]);
    expect(await codeOf(unconfirmed.publishPolicy({ ...publication, version: 2n, group: 'web' }))).toBe(
      'KX_CONFIRMATION_NEEDED',
    );
    const published = await owner.publishPolicy({ ...publication, version: 2n, group: 'web' });
    expect(published.publication).toMatchObject({
      ...{ seq: 2n, version: 2n, group: 'web', mode: Mode.ENFORCE, staleRule: StaleRule.DENY_ALL },
    });
    await expect.poll(() => seen.at(-1)).toBe(2n);
    const { snapshot } = await member.getPolicySnapshot({});
    expect(snapshot?.policies).toMatchObject([{ id: 'team.x', text }]);
    expect((await owner.getPolicySnapshot({})).snapshot?.policies[0]?.id).not.toBe('team.x');

    const listed = await member.listPolicyVersions({});
    expect(listed.versions.map((one) => [one.version, one.holds.map(({ group }) => group)])).toEqual([
      [2n, ['web']],
      [1n, ['']],
    ]);
    expect((await member.getPolicyVersion({ version: 2n })).sources).toMatchObject(sources);
    expect((await member.getPolicyVersion({})).sources?.files.length).toBeGreaterThan(1);

    expect(await codeOf(unconfirmed.withdrawPolicy({ group: 'web', reason: 'x' }))).toBe(
      'KX_CONFIRMATION_NEEDED',
    );
    const { publication: ended } = await owner.withdrawPolicy({ group: 'web', reason: 'over' });
    expect(ended).toMatchObject({ seq: 3n, withdrawn: true });
    await expect.poll(() => seen.at(-1)).toBe(3n);
    expect((await member.getPolicySnapshot({})).snapshot?.policies[0]?.id).not.toBe('team.x');
    stop.abort();
    await watching;
  });

  it('replays in a stream that ends with a report, for overseers alone', async () => {
    const run = async (client: Policies) => {
      const steps = [];
      for await (const step of client.replayPolicy({ sources, sinceSeconds: 3600 })) steps.push(step);
      return steps;
    };
    expect((await run(owner)).at(-1)?.report).toMatchObject({ calls: 0n, same: 0n, groups: [] });
    expect(await codeOf(run(member))).toBe('KX_FORBIDDEN');
  });

  it('refuses drafts and publications of a member, and answers their questions', async () => {
    expect(await codeOf(member.putPolicyDraft({ sources, reason: 'x' }))).toBe('KX_FORBIDDEN');
    expect(await codeOf(member.publishPolicy(publication))).toBe('KX_FORBIDDEN');
    expect(await codeOf(member.withdrawPolicy({ group: 'web', reason: 'x' }))).toBe('KX_FORBIDDEN');
    expect((await member.validatePolicy({ sources })).policies).toHaveLength(1);
    const bad = { files: [{ name: 'team.cedar', text: 'forbid' }] };
    expect((await member.validatePolicy({ sources: bad })).findings[0]).toMatchObject({
      ...{ error: true, file: 'team.cedar', line: 1 },
    });
    expect(await codeOf(owner.putPolicyDraft({ sources: bad, reason: 'x' }))).toBe('KX_POLICY_INVALID');
    expect(await codeOf(member.evaluatePolicy({ call: '{}' }))).toBe('KX_REQUEST_INVALID');
    expect(await codeOf(member.explainDecision({ eventId: 'evt_x' }))).toBe('KX_NOT_FOUND');
    expect(await codeOf(member.getPolicyVersion({ version: 2n ** 60n }))).toBe('KX_REQUEST_INVALID');
  });
});
