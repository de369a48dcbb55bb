import { KontextError } from '@kontext/errors';
import type { Config } from '../config.ts';
import { publishedSeconds, rotateSigningKeys } from '../login/server-keys.ts';
import { openVault, withStore } from './open-backend.ts';

/**
 * `kontext-backend signing-keys rotate`: lets the next key sign access tokens. Running backends follow within a minute; what the
 * old key signed is believed on.
 *
 * @returns Lines that say what was done.
 * @throws KontextError `KX_REQUEST_INVALID` when the next key was not published long enough, `KX_STORE_LOCKED` while a backend
 *   has the embedded database open: it rotates by itself, every 90 days.
 */
export async function rotateSigningKeysCommand(config: Config): Promise<string[]> {
  const rotation = await withStore(config, async (store) =>
    rotateSigningKeys(store, await openVault(config, store), Date.now()),
  );
  if (rotation?.state !== 'rotated') {
    throw new KontextError('KX_REQUEST_INVALID', 'the next signing key cannot sign yet', {
      why: `it has to be published for ${publishedSeconds / 60} minutes first, so that everybody knows it`,
      hint: `run the command again after ${rotation?.readyAt.toISOString() ?? 'a while'}`,
    });
  }
  return [
    `${rotation.kid} signs from now on; running backends follow within a minute`,
    `what ${rotation.previous} signed is believed for 30 days; restart backends that run longer within that time`,
  ];
}
