import { randomBytes } from 'node:crypto';
import { verifyAccessToken } from '@kontext/oauth';
import { createLocalKms } from '@kontext/vault';
import { sql } from 'drizzle-orm';
import { decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';
import { logIn, refresh } from '../test-login.ts';
import { believedSeconds, loadServerKeys, publishedSeconds, rotateSigningKeys } from './server-keys.ts';

const kmsOf = (key: Buffer) => createLocalKms(new Map([['kek-test', Buffer.from(key)]]), 'kek-test');

describe.each(testStores())('server keys on $kind', ({ open }) => {
  const kek = randomBytes(32);
  let opened: TestStore;
  beforeAll(async () => {
    opened = await open();
  });
  afterAll(() => opened?.close());

  it('are one set of two, also for replicas that start together', async () => {
    const load = () => loadServerKeys(opened.store, kmsOf(kek), Date.now);
    const [first, second, third] = [...(await Promise.all([load(), load()])), await load()];
    expect(first?.signing).toHaveLength(2);
    for (const other of [second, third]) {
      expect(other?.signing).toEqual(first?.signing);
      expect(other?.derive('x')).toEqual(first?.derive('x'));
    }
    expect(first?.derive('x')[0]).not.toEqual(first?.derive('y')[0]);
    expect(first?.derive('x')[0]).not.toEqual(first?.derive('x')[1]);
  });

  it('show their public halves alone to resource servers', async () => {
    const { publicJwks, signing } = await loadServerKeys(opened.store, kmsOf(kek), Date.now);
    expect(publicJwks.keys.map((key) => key.kid)).toEqual(signing.map((key) => key.kid));
    expect(JSON.stringify(publicJwks)).not.toContain('"d"');
  });

  it('stand in the database sealed', async () => {
    const { signing } = await loadServerKeys(opened.store, kmsOf(kek), Date.now);
    const { rows } = await opened.store.transaction({ role: 'system', orgId: null }, (tx) =>
      tx.execute(
        sql`SELECT to_jsonb(s)::text AS a, to_jsonb(k)::text AS b FROM secrets s JOIN signing_keys k ON k.secret_id = s.id`,
      ),
    );
    expect(rows).toHaveLength(4);
    for (const { d } of signing) expect(JSON.stringify(rows)).not.toContain(d);
  });

  it('do not open under another key-encryption key', async () => {
    const other = loadServerKeys(opened.store, kmsOf(randomBytes(32)), Date.now);
    await expect(other).rejects.toMatchObject({ code: 'KX_VAULT_OPEN' });
  });
});

describe.each(testStores())('rotation of the signing keys on $kind', ({ open }) => {
  const kms = kmsOf(randomBytes(32));
  const dayMs = 86_400_000;
  let opened: TestStore;
  let app: TestApp;
  /** What the task of the app does every minute. */
  let follow: () => Promise<void>;
  beforeAll(async () => {
    opened = await open();
    app = await startTestApp(opened.store, {
      kms,
      wire: (parts) => {
        follow = () => parts.keys.reload();
        return {};
      },
    });
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });

  const publishedKids = async (): Promise<string[]> => {
    const { keys } = (await app.app.inject({ url: '/oauth/jwks' })).json();
    return keys.map(({ kid }: { kid: string }) => kid);
  };
  const kidOf = (token: unknown) => decodeProtectedHeader(String(token)).kid;

  it('waits until the next key was published long enough', async () => {
    const keys = await loadServerKeys(opened.store, kms, Date.now);
    expect(await rotateSigningKeys(opened.store, kms, Date.now())).toMatchObject({ state: 'too-early' });
    const before = keys.signing.map(({ kid }) => kid);
    await keys.reload();
    expect(keys.signing.map(({ kid }) => kid)).toEqual(before);
  });

  it('lets the next key sign, in a running process too, and believes what the old one signed', async () => {
    const later = () => Date.now() + publishedSeconds * 1000 + 1000;
    const keys = await loadServerKeys(opened.store, kms, later);
    const [first, second] = keys.signing;
    const { refreshToken, accessToken, jwk } = await logIn(app);
    expect(kidOf(accessToken)).toBe(first?.kid);
    expect(await publishedKids()).toEqual([first?.kid, second?.kid]);

    expect(await rotateSigningKeys(opened.store, kms, later())).toEqual({
      state: 'rotated',
      kid: second?.kid,
      previous: first?.kid,
    });
    await keys.reload();
    await follow();

    const [now, next, old] = keys.signing;
    expect([now?.kid, old?.kid]).toEqual([second?.kid, first?.kid]);
    expect([first?.kid, second?.kid]).not.toContain(next?.kid);
    expect(await publishedKids()).toEqual([now?.kid, next?.kid, old?.kid]);
    expect(kidOf((await refresh(app, refreshToken, jwk)).body.access_token)).toBe(second?.kid);
    const jwks = { keys: [...keys.publicJwks.keys] };
    const issuer = `${app.apiUrl}/oauth`;
    const verified = { token: accessToken, issuer, audience: app.apiUrl, jwks, nowMs: Date.now() };
    expect((await verifyAccessToken(verified)).sub).toBe(app.owner.userId);
  });

  it('goes on with a key it knows when keys were rotated twice without a restart', async () => {
    const later = () => Date.now() + 2 * publishedSeconds * 1000 + 2000;
    const keys = await loadServerKeys(opened.store, kms, later);
    expect(await rotateSigningKeys(opened.store, kms, later())).toMatchObject({ state: 'rotated' });
    await keys.reload();
    await follow();
    const { accessToken } = await logIn(app);
    const published = await publishedKids();
    expect(published).toHaveLength(4);
    expect(published).toContain(kidOf(accessToken));
  });

  it('forgets an old key after its time, and rotates by itself after 90 days, once', async () => {
    const nowMs = Date.now() + 91 * dayMs;
    expect(believedSeconds * 1000).toBeLessThan(90 * dayMs);
    expect((await loadServerKeys(opened.store, kms, () => nowMs)).signing).toHaveLength(2);
    const rotations = await Promise.all(
      [1, 2, 3].map(() => rotateSigningKeys(opened.store, kms, nowMs, true)),
    );
    expect(rotations.filter((rotation) => rotation?.state === 'rotated')).toHaveLength(1);
    expect(rotations.filter((rotation) => rotation === null)).toHaveLength(2);
    expect((await loadServerKeys(opened.store, kms, () => nowMs)).signing).toHaveLength(3);
  });
});
