import { Secret } from '@kontext/redaction';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createAppendSignal } from '../audit/append-signal.ts';
import type { Caller } from '../caller.ts';
import { makeConnection } from '../connections/make-connection.ts';
import { openTestRoom, type TestRoom } from '../connections/test-room.ts';
import type { TestOrganisation } from '../organisations/test-organisation.ts';
import type { Minter, MintRequest } from '../providers/minted/minter.ts';
import { insertProvider } from '../store/queries/providers.ts';
import { agentProviders, agents, connections, leases } from '../store/schema.ts';
import { makeTestProvider } from '../store/test-provider.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import type { AttenuateInput } from './attenuate-credential.ts';
import { createCredentialService } from './credential-service.ts';
import type { IssuedCredential, Outcome } from './outcome.ts';

const issued = (outcome: Outcome | undefined): IssuedCredential => {
  if (!outcome?.ok) throw new Error(`refused: ${outcome?.refusal.code} ${outcome?.refusal.message}`);
  return outcome;
};

describe.each(testStores())('attenuation on $kind', ({ open }) => {
  let opened: TestStore;
  let room: TestRoom;
  let org: TestOrganisation;
  let owner: Caller;
  let sessionId: string;
  const minted: MintRequest[] = [];
  /** A provider that makes credentials as narrow as they are asked for. */
  const minter: Minter = {
    target: () => ({ base: 'x', field: '', scopes: ['read', 'write'], ttlSeconds: { min: 1, max: 3600 } }),
    plan: (leaseId) => `made-${leaseId}`,
    mint: async (request) => {
      minted.push(request);
      const value = new Secret(`made for ${request.scopes.join(' ')}`);
      const expiresAt = new Date(room.nowMs() + 7_200_000);
      return { values: new Map([['', value]]), expiresAt, scopes: request.scopes, keep: null };
    },
    revoke: async () => 'revoked',
  };
  const service = () =>
    createCredentialService({
      ...{ ...room.deps, tokens: room.connections.tokens, minters: { github_app: minter } },
      ...{ issuer: 'http://127.0.0.1:4180/oauth', keys: { publicJwks: { keys: [] }, signing: [] } },
      callers: { load: async () => null, recordProof: async () => true, isTokenLive: async () => true },
      ...{ approvalKey: Buffer.alloc(32, 9), onLeasesEnded: () => undefined },
      appended: createAppendSignal(),
    });
  const attenuate = (input: Partial<AttenuateInput>, caller = owner) =>
    service().attenuate(
      { ...caller, clientId: 'kontext-cli', jkt: 'jkt' },
      { ...{ sessionId, leaseId: '', scopes: [], ttlSeconds: 0 }, ...input },
    );
  const resolve = async (provider: string) => {
    const wanted = [{ provider, resource: '', scopes: [], delivery: 'inject' as const }];
    return issued((await service().resolve(owner, { sessionId, wanted, dryRun: false })).outcomes[0]);
  };
  const leaseOf = async (id: string) => {
    const rows = await room.store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
      tx.select().from(leases).where(eq(leases.id, id)),
    );
    return rows[0];
  };
  const addForge = () =>
    room.store.transaction({ role: 'system', orgId: null }, async (tx) => {
      const row = makeTestProvider({ orgId: org.orgId, name: 'forge', kind: 'github_app' });
      const now = new Date(room.nowMs());
      const made = makeConnection(row, null, 'default', now);
      await insertProvider(tx, row, null);
      await tx.insert(connections).values({ ...made, state: 'connected', connectedAt: now });
      const own = await tx.select().from(agents).where(eq(agents.orgId, org.orgId));
      const rows = own.map(({ id }) => ({
        orgId: org.orgId,
        agentId: id,
        providerId: row.id,
        createdAt: now,
      }));
      await tx.insert(agentProviders).values(rows);
    });
  beforeAll(async () => {
    opened = await open();
    room = await openTestRoom(opened);
  });
  beforeEach(async () => {
    org = await room.organisation();
    owner = org.owner;
    sessionId = await room.openSession(owner);
    await room.addUpstream(owner);
    await room.connect(owner);
    await room.connections.putSecret(owner, { provider: 'stripe', name: '', shared: false, value: 'sk_1' });
    await addForge();
  });
  afterAll(async () => {
    await room?.close();
    await opened?.close();
  });

  test('what is made for a lease is made narrower, shorter, and hangs below it', async () => {
    const wide = await resolve('forge');
    expect(wide).toMatchObject({ kind: 'minted', scopes: ['read', 'write'] });
    const { outcome } = await attenuate({ leaseId: wide.leaseId, scopes: ['read'], ttlSeconds: 60 });
    const narrow = issued(outcome);
    expect(narrow.value.reveal()).toBe('made for read');
    expect(narrow).toMatchObject({ scopes: ['read'], expiresInSeconds: 60 });
    expect(minted.at(-1)).toMatchObject({ scopes: ['read'], ttlSeconds: 60 });
    expect(await leaseOf(narrow.leaseId)).toMatchObject({
      ...{
        state: 'active',
        kind: 'minted',
        parentLeaseId: wide.leaseId,
        depth: 1,
        scope: ['read'],
        sessionId,
      },
    });
  });

  test('what was narrowed can be narrowed further, never widened, and at most eight times', async () => {
    let { leaseId } = await resolve('forge');
    leaseId = issued((await attenuate({ leaseId, scopes: ['read'] })).outcome).leaseId;
    await expect(attenuate({ leaseId, scopes: ['read', 'write'] })).rejects.toMatchObject({
      ...{ code: 'KX_SCOPE_EXCEEDED', details: { oauth_error: 'invalid_scope', scope: 'write' } },
    });
    for (let depth = 2; depth <= 8; depth += 1)
      leaseId = issued((await attenuate({ leaseId })).outcome).leaseId;
    expect((await leaseOf(leaseId))?.depth).toBe(8);
    await expect(attenuate({ leaseId })).rejects.toMatchObject({ code: 'KX_EXCHANGE_REFUSED' });
  });

  test('a granted token is never given out as a narrow one', async () => {
    const { leaseId, scopes } = await resolve('acme');
    const { outcome } = await attenuate({ leaseId, scopes: ['read'] });
    expect(outcome).toMatchObject({
      ok: false,
      refusal: { code: 'KX_SCOPE_EXCEEDED', message: expect.stringMatching(/cannot be narrowed/) },
    });
    // All of its scopes are not fewer.
    expect((await attenuate({ leaseId, scopes: [...scopes] })).outcome.ok).toBe(true);
  });

  test('a static key has no scope to be narrowed to', async () => {
    const { leaseId } = await resolve('stripe');
    await expect(attenuate({ leaseId, scopes: ['read'] })).rejects.toMatchObject({
      ...{ code: 'KX_SCOPE_EXCEEDED', details: { scope: 'read' } },
    });
  });

  test.each([-1, 0.5, 86_401])('refuses a life of %d seconds', async (ttlSeconds) => {
    const { leaseId } = await resolve('stripe');
    await expect(attenuate({ leaseId, ttlSeconds })).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
  });

  test('a lease of another session, another person, or that has ended, is not there', async () => {
    const { leaseId } = await resolve('forge');
    const other = await room.openSession(owner);
    const stranger = await org.addUser('admin');
    const gone = { code: 'KX_NOT_FOUND' };
    await expect(attenuate({ leaseId, sessionId: other })).rejects.toMatchObject(gone);
    await expect(attenuate({ leaseId }, stranger)).rejects.toMatchObject(gone);
    await expect(attenuate({ leaseId: 'lea_x' })).rejects.toMatchObject(gone);
    await room.sessions.end(owner, sessionId, { exitCode: 0, reason: '' });
    await expect(attenuate({ leaseId })).rejects.toMatchObject(gone);
  });

  test('what was narrowed ends with what it was narrowed from', async () => {
    const { leaseId } = await resolve('forge');
    const narrow = issued((await attenuate({ leaseId, scopes: ['read'] })).outcome);
    await service().revokeLeases(owner, { leaseId }, false);
    expect(await leaseOf(narrow.leaseId)).toMatchObject({ state: 'ended', revocation: 'pending' });
  });
});
