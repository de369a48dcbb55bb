import { randomBytes } from 'node:crypto';
import { KontextError } from '@kontext/errors';
import { encodeAad } from '@kontext/vault';
import type { KeyService } from './key-service.ts';

/**
 * Tries a key before anything is sealed under it: it must give back what it wrapped, and refuse it under another context.
 *
 * @throws KontextError `KX_CONFIG_INVALID` when it does not bind the context (an old Vault passes `associated_data` over);
 *   else what the service throws.
 */
export async function probeKey(service: KeyService, kekId: string): Promise<void> {
  const dek = randomBytes(32);
  const wrapped = await service.wrap(kekId, dek, aadOf(kekId, 1));
  const unwrapped = await service.unwrap(kekId, wrapped, aadOf(kekId, 1));
  const isSame = unwrapped.equals(dek);
  for (const buffer of [dek, unwrapped]) buffer.fill(0);
  if (!isSame) throw unfit(kekId, 'it gives back another data key than it wrapped');
  const isBound = await service.unwrap(kekId, wrapped, aadOf(kekId, 2)).then(
    () => false,
    (error: unknown) => {
      if (error instanceof KontextError && error.code === 'KX_VAULT_OPEN') return true;
      throw error;
    },
  );
  if (!isBound) throw unfit(kekId, 'it unwraps a data key under another context than it was wrapped with');
}

const aadOf = (kekId: string, version: number): Buffer =>
  encodeAad(['1', 'probe', 'system', 'probe', String(version), kekId]);

const unfit = (kekId: string, why: string): KontextError =>
  new KontextError('KX_CONFIG_INVALID', `the key ${kekId} cannot be used`, {
    why,
    hint: 'use a key and a version of the service that authenticate additional data; docs/keys.md',
  });
