import { createPrivateKey, type KeyObject } from 'node:crypto';
import { KontextError } from '@kontext/errors';
import { importPKCS8 } from 'jose';

/** Key of `private_key_jwt` (RFC 7523 §2.2), ready to sign. */
export interface ClientKey {
  readonly key: Awaited<ReturnType<typeof importPKCS8>>;
  readonly alg: string;
}

const curves: Readonly<Record<string, string>> = {
  prime256v1: 'ES256',
  secp384r1: 'ES384',
  secp521r1: 'ES512',
};

/**
 * Reads a private key.
 *
 * @param pem PKCS#8, PKCS#1 or SEC 1, not encrypted: RSA of at least 2,048 bits (RS256), P-256, P-384, P-521, or Ed25519.
 * @throws KontextError `KX_PROVIDER_INVALID`; nothing of the key is in it.
 */
export async function loadClientKey(pem: string): Promise<ClientKey> {
  const object = readKey(pem);
  const alg = object === null ? null : algorithmOf(object);
  if (object === null || alg === null) {
    throw new KontextError('KX_PROVIDER_INVALID', 'the private key cannot be used', {
      why: 'it must be an unencrypted PEM: RSA of at least 2,048 bits, P-256, P-384, P-521 or Ed25519',
    });
  }
  return { key: await importPKCS8(String(object.export({ type: 'pkcs8', format: 'pem' })), alg), alg };
}

function readKey(pem: string): KeyObject | null {
  try {
    return createPrivateKey(pem);
  } catch {
    return null;
  }
}

function algorithmOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): string | null {
  if (asymmetricKeyType === 'ed25519') return 'Ed25519';
  if (asymmetricKeyType === 'ec') return curves[asymmetricKeyDetails?.namedCurve ?? ''] ?? null;
  return asymmetricKeyType === 'rsa' && (asymmetricKeyDetails?.modulusLength ?? 0) >= 2048 ? 'RS256' : null;
}
