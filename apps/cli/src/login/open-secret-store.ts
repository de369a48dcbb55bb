import { existsSync } from 'node:fs';
import type { Config } from '../config.ts';
import type { Terminal } from '../terminal.ts';
import { createFileStore, fileStorePath } from './file-store.ts';
import { createKeyringStore } from './keyring-store.ts';
import type { SecretStore } from './secret-store.ts';

/**
 * Chooses the store: what the configuration says, else the file a user chose at login, else the keyring.
 *
 * File storage is announced on every use.
 */
export function openSecretStore(
  config: Pick<Config, 'loginStore' | 'configDir' | 'apiUrl' | 'environment'>,
  terminal: Pick<Terminal, 'warn'>,
): SecretStore {
  const path = fileStorePath(config.configDir, config.apiUrl);
  const kind = config.loginStore ?? (existsSync(path) ? 'file' : 'keyring');
  if (kind === 'keyring') return createKeyringStore(config.environment);
  terminal.warn(`the login is kept in a plain file, ${path}`);
  return createFileStore(config.configDir);
}
