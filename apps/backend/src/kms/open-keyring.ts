import { statSync } from 'node:fs';
import { KontextError } from '@kontext/errors';
import type { Config } from '../config.ts';
import type { KekProvider } from '../store/queries/keks.ts';
import { createAwsKms } from './aws-kms.ts';
import { createGcpKms } from './gcp-kms.ts';
import { createKeyFile, readKeyFile } from './key-file.ts';
import type { KeyService } from './key-service.ts';
import { createKeyring, type FileKeys, type Keyring, providerOf } from './keyring.ts';
import { createFileKeyService, defaultKekFile } from './local-kms.ts';
import { createVaultTransit } from './vault-transit.ts';

/** The part of the configuration that names keys. */
export type KeyConfig = Pick<Config, 'kekFile' | 'local' | 'dataDir' | 'kmsKeys' | 'vault'>;

/**
 * Where the key file of the configuration is, whether it exists or not; null when key services alone are configured.
 *
 * @throws KontextError `KX_KEK_MISSING` when nothing is configured outside local mode: a key on the disk of a server has to be
 *   asked for.
 */
export function keyFileOf({ kekFile, local, dataDir, kmsKeys }: KeyConfig): string | null {
  if (kekFile !== null) return kekFile;
  if (kmsKeys.length > 0) return null;
  if (local) return defaultKekFile(dataDir);
  throw new KontextError('KX_KEK_MISSING', 'no key-encryption key is configured', {
    why: 'KONTEXT_KEK_FILE or KONTEXT_KMS_KEYS is required outside local mode',
  });
}

/**
 * Opens the keys of the configuration; key services are not asked yet.
 *
 * @throws KontextError `KX_KEK_MISSING` when the key file is missing (only local mode's own file is made on first use), or can be
 *   read by others, or is damaged; `KX_CONFIG_INVALID` when the SDK of a key service is not installed.
 */
export async function openKeyring(config: KeyConfig): Promise<Keyring> {
  const path = keyFileOf(config);
  if (path !== null && config.local) createKeyFile(path);
  const remote = await openServices(config);
  return createKeyring({ remote, ...(path === null ? {} : { readFile: createFileReader(path) }) });
}

/** One service for all keys of a kind; its SDK is loaded only if a key asks for it. */
async function openServices({ kmsKeys, vault }: KeyConfig): Promise<Map<string, KeyService>> {
  const services = new Map<KekProvider, KeyService>();
  const remote = new Map<string, KeyService>();
  for (const id of kmsKeys) {
    const provider = providerOf(id);
    const service = services.get(provider) ?? (await openService(provider, vault));
    services.set(provider, service);
    remote.set(id, service);
  }
  return remote;
}

async function openService(provider: KekProvider, vault: KeyConfig['vault']): Promise<KeyService> {
  if (provider === 'aws') return createAwsKms();
  if (provider === 'gcp') return createGcpKms();
  if (provider === 'vault' && vault !== null) return createVaultTransit(vault);
  throw new KontextError('KX_INTERNAL', 'the configuration names a key of no known service');
}

/** Reads the file when it is another one than last time: its keys should pass through memory as rarely as possible. */
function createFileReader(path: string): () => FileKeys | null {
  let seen = '';
  return () => {
    const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
    const version = stat ? `${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.mode}` : 'missing';
    if (version === seen) return null;
    const file = readKeyFile(path);
    seen = version;
    return { active: file.active, keyIds: Object.keys(file.keks), service: createFileKeyService(file) };
  };
}
