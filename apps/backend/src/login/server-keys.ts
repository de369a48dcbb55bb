import { hkdfSync, randomBytes } from 'node:crypto';
import { KontextError } from '@kontext/errors';
import {
  generateP256Jwk,
  isP256PublicJwk,
  jwkThumbprint,
  type P256PrivateJwk,
  type P256PublicJwk,
} from '@kontext/oauth';
import type { Kms } from '@kontext/vault';
import { openRow, sealAsRow } from '../kms/sealed-secrets.ts';
import {
  insertServerKey,
  listServerKeys,
  lockServerKeys,
  replaceServerKey,
  type ServerKeyRow,
} from '../store/queries/server-keys.ts';
import type { Store } from '../store/store.ts';

/**
 * Keys of the authorization server. Two of each kind are kept: the active one, and the next, so that it is known everywhere
 * before it signs. A signing key that was replaced is believed for {@link believedSeconds} more.
 */
export interface ServerKeys {
  /** ES256 private keys, active first; sign with the first. Another array after {@link ServerKeys.reload} found others. */
  readonly signing: readonly SigningJwk[];
  /** Their public halves, active first; one object as long as they stay the same. */
  readonly publicJwks: { readonly keys: PublicSigningJwk[] };
  /** Looks whether the signing keys were rotated; call it every minute on every replica. */
  reload(): Promise<void>;
  /** Derives a key of 32 bytes for one purpose; the same on every replica. Active first. */
  derive(purpose: string): readonly [Buffer, Buffer];
}

/** A private signing key as the authorization server takes it. */
export interface SigningJwk extends P256PrivateJwk {
  readonly kid: string;
  readonly alg: 'ES256';
  readonly use: 'sig';
}

/** A public signing key as resource servers take it. */
export interface PublicSigningJwk extends P256PublicJwk {
  readonly kid: string;
  readonly alg: 'ES256';
  readonly use: 'sig';
}

const scope = { role: 'system', orgId: null } as const;
const kept = 2;

/** A next key signs no earlier: by then every replica has loaded it, and resource servers have asked for the key set again. */
export const publishedSeconds = 600;
/** How long a key that was replaced is published and believed: far longer than the 300 s of an access token. */
export const believedSeconds = 30 * 86_400;
/** A signing key is replaced by itself after so long. */
const rotateAfterSeconds = 90 * 86_400;

/**
 * Loads the keys, making and sealing them at the first start. Replicas that start together end up with one set.
 *
 * @throws KontextError `KX_VAULT_OPEN` when a stored key does not open: the key-encryption key is another one.
 */
export async function loadServerKeys(store: Store, kms: Kms, nowMs: () => number): Promise<ServerKeys> {
  for (const purpose of ['oidc', 'cookie'] as const) await ensureKeys(store, kms, purpose, nowMs());
  const secrets = await Promise.all(
    (await readKeys(store, 'cookie', nowMs())).map((row) => openKey(kms, row)),
  );
  const [first, second] = secrets;
  if (!first || !second) throw new KontextError('KX_INTERNAL', 'the cookie keys were not stored');
  const derive = (secret: Buffer, purpose: string): Buffer =>
    Buffer.from(hkdfSync('sha256', secret, 'kontext-server-keys-v1', purpose, 32));
  const loadSigning = async () => {
    const rows = await readKeys(store, 'oidc', nowMs());
    return toSigningKeys(
      await Promise.all(rows.map(async (row) => parseSigning(row, await openKey(kms, row)))),
    );
  };
  let current = await loadSigning();
  return {
    get signing() {
      return current.signing;
    },
    get publicJwks() {
      return current.publicJwks;
    },
    reload: async () => {
      const known = current.signing.map(({ kid }) => kid).join();
      const stored = (await readKeys(store, 'oidc', nowMs())).map(({ kid }) => kid).join();
      // Opening keys may ask a key service: only when there is something new.
      if (known !== stored) current = await loadSigning();
    },
    derive: (purpose) => [derive(first, purpose), derive(second, purpose)],
  };
}

const toSigningKeys = (signing: readonly SigningJwk[]) => ({
  signing,
  publicJwks: { keys: signing.map(({ d: _, ...publicHalf }) => publicHalf) },
});

const readKeys = (
  store: Store,
  purpose: 'oidc' | 'cookie',
  nowMs: number,
): Promise<readonly ServerKeyRow[]> =>
  store.transaction(scope, (tx) => listServerKeys(tx, purpose, new Date(nowMs)));

/** What rotating did. */
export type SigningKeyRotation =
  | { readonly state: 'rotated'; readonly kid: string; readonly previous: string }
  /** The next key is not known long enough. */
  | { readonly state: 'too-early'; readonly readyAt: Date };

/**
 * Lets the next signing key sign, and makes the one after it. Running replicas follow with their next {@link ServerKeys.reload};
 * what the old key signed is believed on.
 *
 * @param onlyWhenOld Does nothing before the active key is 90 days old; null comes back then.
 */
export async function rotateSigningKeys(
  store: Store,
  kms: Kms,
  nowMs: number,
  onlyWhenOld = false,
): Promise<SigningKeyRotation | null> {
  if (onlyWhenOld && !isOld(await readKeys(store, 'oidc', nowMs), nowMs)) return null;
  const now = new Date(nowMs);
  const fresh = await makeKey(kms, 'oidc', now);
  return store.transaction(scope, async (tx) => {
    await lockServerKeys(tx);
    const rows = await listServerKeys(tx, 'oidc', now);
    // Another replica may have been faster.
    if (onlyWhenOld && !isOld(rows, nowMs)) return null;
    const active = rows.find((row) => row.active);
    const next = rows.find((row) => !row.active && row.retiredAt === null);
    if (!active || !next) throw new KontextError('KX_INTERNAL', 'there are no two signing keys');
    const readyAt = new Date(next.createdAt.getTime() + publishedSeconds * 1000);
    if (readyAt > now) return { state: 'too-early', readyAt };
    const kids = { active: active.kid, next: next.kid };
    await replaceServerKey(tx, kids, new Date(nowMs + believedSeconds * 1000));
    await insertServerKey(tx, fresh);
    return { state: 'rotated', kid: next.kid, previous: active.kid };
  });
}

/** Since the last rotation, or since the first start. */
function isOld(rows: readonly ServerKeyRow[], nowMs: number): boolean {
  const rotations = rows.flatMap(({ retiredAt }) =>
    retiredAt === null ? [] : [retiredAt.getTime() - believedSeconds * 1000],
  );
  const sinceMs = Math.max(...rotations, rows.find((row) => row.active)?.createdAt.getTime() ?? nowMs);
  return nowMs - sinceMs >= rotateAfterSeconds * 1000;
}

async function ensureKeys(store: Store, kms: Kms, purpose: 'oidc' | 'cookie', nowMs: number): Promise<void> {
  if (inUse(await readKeys(store, purpose, nowMs)) >= kept) return;
  // Sealing may ask a key service: it happens before the transaction. What another replica made first wins.
  const fresh = await Promise.all(Array.from({ length: kept }, () => makeKey(kms, purpose, new Date(nowMs))));
  await store.transaction(scope, async (tx) => {
    await lockServerKeys(tx);
    const stored = inUse(await listServerKeys(tx, purpose, new Date(nowMs)));
    for (const [i, key] of fresh.slice(0, Math.max(0, kept - stored)).entries()) {
      const createdAt = new Date(nowMs + i);
      await insertServerKey(tx, { ...key, active: stored + i === 0, createdAt });
    }
  });
}

const inUse = (rows: readonly ServerKeyRow[]): number => rows.filter((row) => row.retiredAt === null).length;

async function makeKey(kms: Kms, purpose: 'oidc' | 'cookie', now: Date): Promise<ServerKeyRow> {
  if (purpose === 'cookie') {
    const kid = randomBytes(16).toString('base64url');
    const secret = await sealKey(kms, kid, randomBytes(32), now);
    return { kid, purpose, alg: 'HS256', publicJwk: null, ...unused(now), secret };
  }
  const { d, kty, crv, x, y } = generateP256Jwk();
  const kid = jwkThumbprint({ kty, crv, x, y });
  const secret = await sealKey(kms, kid, Buffer.from(d, 'utf8'), now);
  const publicJwk = JSON.stringify({ kty, crv, x, y });
  return { kid, purpose, alg: 'ES256', publicJwk, ...unused(now), secret };
}

const unused = (createdAt: Date) => ({ active: false, createdAt, retiredAt: null });

async function sealKey(kms: Kms, kid: string, plaintext: Buffer, now: Date) {
  try {
    return await sealAsRow(kms, contextOf(kid), plaintext, now);
  } finally {
    plaintext.fill(0);
  }
}

const openKey = (kms: Kms, { kid, secret }: ServerKeyRow): Promise<Buffer> =>
  openRow(kms, contextOf(kid), secret);

const contextOf = (kid: string) => ({ purpose: 'signing-key', orgId: null, subjectId: kid, version: 1 });

function parseSigning(row: ServerKeyRow, secret: Buffer): SigningJwk {
  const jwk: unknown = JSON.parse(row.publicJwk ?? 'null');
  if (!isP256PublicJwk(jwk)) throw new KontextError('KX_VAULT_OPEN', 'a signing key is not a P-256 key');
  const { kty, crv, x, y } = jwk;
  return { kty, crv, x, y, d: secret.toString('utf8'), kid: row.kid, alg: 'ES256', use: 'sig' };
}
