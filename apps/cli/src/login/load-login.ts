import { KontextError } from '@kontext/errors';
import type { Config } from '../config.ts';
import { type Login, parseLogin } from './login-item.ts';
import type { SecretStore } from './secret-store.ts';

/**
 * Loads the login for the configured backend.
 *
 * @throws KontextError `KX_NOT_LOGGED_IN` when there is none.
 * @throws KontextError `KX_KEYRING_UNAVAILABLE`, `KX_KEYRING_ITEM_INVALID`.
 */
export async function loadLogin(config: Pick<Config, 'apiUrl'>, store: SecretStore): Promise<Login> {
  const text = await store.get(config.apiUrl);
  if (text === null) {
    throw new KontextError('KX_NOT_LOGGED_IN', 'nobody is logged in', {
      why: `${store.location} holds no login for ${config.apiUrl}`,
    });
  }
  return parseLogin(text);
}
