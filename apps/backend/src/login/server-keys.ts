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
  type ServerKeyRow,
} from '../store/queries/server-keys.ts';
import type { Store } from '../store/store.ts';

/** Keys of the authorization server. Two of each kind are kept: the active one, and the next, so that it is known early. */
export interface ServerKeys {
  /** ES256 private keys, active first; the authorization server signs with the first. */
  readonly signing: readonly SigningJwk[];
  /** Their public halves, active first; one object for the life of the process. */
  readonly publicJwks: { readonly keys: PublicSigningJwk[] };
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

/**
 * Loads the keys, making and sealing them at the first start. Replicas that start together end up with one set.
 *
 * @throws KontextError `KX_VAULT_OPEN` when a stored key does not open: the key-encryption key is another one.
 */
export async function loadServerKeys(store: Store, kms: Kms, nowMs: number): Promise<ServerKeys> {
  for (const purpose of ['oidc', 'cookie'] as const) await ensureKeys(store, kms, purpose, nowMs);
  const read = (purpose: 'oidc' | 'cookie') => store.transaction(scope, (tx) => listServerKeys(tx, purpose));
  const signing = await Promise.all(
    (await read('oidc')).map(async (row) => parseSigning(row, await openKey(kms, row))),
  );
  const secrets = await Promise.all((await read('cookie')).map((row) => openKey(kms, row)));
  const [first, second] = secrets;
  if (!first || !second) throw new KontextError('KX_INTERNAL', 'the cookie keys were not stored');
  const derive = (secret: Buffer, purpose: string): Buffer =>
    Buffer.from(hkdfSync('sha256', secret, 'kontext-server-keys-v1', purpose, 32));
  return {
    signing,
    publicJwks: { keys: signing.map(({ d: _, ...publicHalf }) => publicHalf) },
    derive: (purpose) => [derive(first, purpose), derive(second, purpose)],
  };
}

async function ensureKeys(store: Store, kms: Kms, purpose: 'oidc' | 'cookie', nowMs: number): Promise<void> {
  const known = await store.transaction(scope, (tx) => listServerKeys(tx, purpose));
  if (known.length >= kept) return;
  // Sealing may ask a key service: it happens before the transaction. What another replica made first wins.
  const fresh = await Promise.all(Array.from({ length: kept }, () => makeKey(kms, purpose, new Date(nowMs))));
  await store.transaction(scope, async (tx) => {
    await lockServerKeys(tx);
    const stored = (await listServerKeys(tx, purpose)).length;
    for (const [i, key] of fresh.slice(0, kept - stored).entries()) {
      await insertServerKey(tx, { ...key, active: stored + i === 0 }, new Date(nowMs + i));
    }
  });
}

async function makeKey(kms: Kms, purpose: 'oidc' | 'cookie', now: Date): Promise<ServerKeyRow> {
  if (purpose === 'cookie') {
    const kid = randomBytes(16).toString('base64url');
    const secret = await sealKey(kms, kid, randomBytes(32), now);
    return { kid, purpose, alg: 'HS256', publicJwk: null, active: false, secret };
  }
  const { d, kty, crv, x, y } = generateP256Jwk();
  const kid = jwkThumbprint({ kty, crv, x, y });
  const secret = await sealKey(kms, kid, Buffer.from(d, 'utf8'), now);
  return { kid, purpose, alg: 'ES256', publicJwk: JSON.stringify({ kty, crv, x, y }), active: false, secret };
}

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
