import { randomBytes } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestStore, testStores } from '../store/test-stores.ts';
import {
  abandonedAfterSeconds,
  createOidcAdapters,
  graceSeconds,
  hashOidcId,
  type OidcAdapters,
} from './oidc-adapter.ts';
import { sealSuccessor } from './refresh-successor.ts';

describe.each(testStores())('oidc adapter on $kind', ({ open }) => {
  let opened: TestStore;
  let adapters: OidcAdapters;
  let nowMs = Date.now();
  beforeAll(async () => {
    opened = await open();
    adapters = createOidcAdapters(opened.store, randomBytes(32), () => nowMs);
  });
  afterAll(() => opened?.close());

  const token = (): string => randomBytes(32).toString('base64url');

  it.each(['DeviceCode', 'AuthorizationCode', 'RefreshToken'])(
    'lets one of five parallel consumers of a %s through',
    async (model) => {
      const [adapter, id] = [adapters.factory(model), token()];
      await adapter.upsert(id, { accountId: 'usr_1' }, 60);
      const results = await Promise.allSettled([1, 2, 3, 4, 5].map(() => adapter.consume(id)));
      expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
      const refused = results.filter((result) => result.status === 'rejected');
      expect(refused.map((result) => result.reason.error)).toEqual(Array(4).fill('invalid_grant'));
    },
  );

  it('refuses to consume what does not exist', async () => {
    await expect(adapters.factory('DeviceCode').consume(token())).rejects.toMatchObject({
      error: 'invalid_grant',
    });
  });

  it('puts id and user code back on read', async () => {
    const [adapter, id] = [adapters.factory('DeviceCode'), token()];
    await adapter.upsert(id, { jti: id, userCode: 'BCDFGHJK', clientId: 'kontext-cli' }, 60);
    expect(await adapter.find(id)).toMatchObject({ jti: id, clientId: 'kontext-cli' });
    expect(await adapter.findByUserCode('BCDFGHJK')).toMatchObject({ userCode: 'BCDFGHJK' });
  });

  it('writes through the handle of a row found by user code, but finds nothing by it', async () => {
    const [adapter, id] = [adapters.factory('DeviceCode'), token()];
    await adapter.upsert(id, { jti: id, userCode: 'BCDFGHJX' }, 60);
    const found = await adapter.findByUserCode('BCDFGHJX');
    const handle = found?.jti ?? '';
    expect(handle).not.toContain(id);
    await adapter.upsert(handle, { ...found, error: 'access_denied' }, 60);
    expect(await adapter.find(id)).toMatchObject({ error: 'access_denied' });
    expect(await adapter.findByUserCode('BCDFGHJX')).toMatchObject({ error: 'access_denied' });
    expect(await adapter.find(handle)).toBeUndefined();
  });

  it('takes one of two parallel replay records', async () => {
    const [adapter, id] = [adapters.factory('ReplayDetection'), token()];
    const results = await Promise.allSettled([adapter.upsert(id, {}, 60), adapter.upsert(id, {}, 60)]);
    expect(results.map((result) => result.status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  it('lets one of two people decide a device code', async () => {
    const id = token();
    expect(await Promise.all([1, 2].map(() => adapters.claimDecision(id, 60)))).toEqual(
      expect.arrayContaining([true, false]),
    );
  });

  it('shows a rotated refresh token as used only after the grace', async () => {
    const [adapter, id, next] = [adapters.factory('RefreshToken'), token(), token()];
    await adapter.upsert(id, { accountId: 'usr_1' }, 3600);
    await adapter.upsert(next, { accountId: 'usr_1' }, 3600);
    expect(await adapters.claimRotation(id)).toBe(true);
    expect(await adapters.claimRotation(id)).toBe(false);
    expect(await adapter.find(id)).not.toHaveProperty('consumed');
    const link = JSON.stringify({ successor: sealSuccessor(id, next) });
    await opened.store.transaction({ role: 'system', orgId: null }, (tx) =>
      tx.execute(sql`UPDATE oidc_payloads SET payload = (payload::jsonb || ${link}::jsonb)::text
        WHERE model = 'RefreshToken' AND id_hash = ${hashOidcId('RefreshToken', id)}`),
    );
    expect(await adapter.find(id)).toMatchObject({ jti: next });
    nowMs += (graceSeconds + 1) * 1000;
    expect(await adapter.find(id)).toHaveProperty('consumed');
    expect(await adapters.findSuccessor(id)).toBeNull();
    expect(await adapters.claimRotation(id)).toBe(false);
  });

  it('gives the right to rotate to another when whoever had it left no successor', async () => {
    const [adapter, id] = [adapters.factory('RefreshToken'), token()];
    await adapter.upsert(id, { accountId: 'usr_1' }, 3600);
    expect(await adapters.claimRotation(id)).toBe(true);
    nowMs += (abandonedAfterSeconds - 1) * 1000;
    expect(await adapters.claimRotation(id)).toBe(false);
    nowMs += (graceSeconds + 1) * 1000;
    expect(await adapter.find(id)).not.toHaveProperty('consumed');
    const claims = await Promise.all([1, 2, 3].map(() => adapters.claimRotation(id)));
    expect(claims.filter(Boolean)).toHaveLength(1);
  });

  it('removes what came from a grant and leaves the rest', async () => {
    const adapter = adapters.factory('RefreshToken');
    const [mine, other] = [token(), token()];
    await adapter.upsert(mine, { grantId: 'grant-1' }, 60);
    await adapter.upsert(other, { grantId: 'grant-2' }, 60);
    await adapter.revokeByGrantId('grant-1');
    expect(await adapter.find(mine)).toBeUndefined();
    expect(await adapter.find(other)).toMatchObject({ grantId: 'grant-2' });
  });

  it('does not store the session cookie that an interaction repeats', async () => {
    const [adapter, id, cookie] = [adapters.factory('Interaction'), token(), token()];
    await adapter.upsert(id, { session: { uid: 'u', cookie, accountId: 'usr_1' } }, 60);
    expect(JSON.stringify(await adapter.find(id))).not.toContain(cookie);
  });
});
