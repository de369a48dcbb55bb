import { join } from 'node:path';
import { createLocalKms, type Kms } from '@kontext/vault';
import { createKeyFile, type KeyFile, readKeyFile } from './key-file.ts';
import { type KeyService, kekMissing } from './key-service.ts';

/** Where the key file is. */
export interface LocalKmsOptions {
  /** Absolute path (`KONTEXT_KEK_FILE`); in local mode by default {@link defaultKekFile}. */
  readonly path: string;
  /** Make the file when it is missing: local mode only. Elsewhere a missing key must not look like a new installation. */
  readonly create: boolean;
  /** Default that of `node:crypto`. */
  readonly randomBytes?: (size: number) => Buffer;
}

/** The key file of local mode: beside the data directory, not in it, so that a copy of the data does not carry the key. */
export const defaultKekFile = (dataDir: string): string => join(`${dataDir}-keys`, 'kek.json');

/**
 * Loads the key-encryption keys once, for a process that does not live long enough to see a rotation.
 *
 * @throws KontextError `KX_KEK_MISSING` when the file is missing (and may not be made), can be read by others, or is damaged.
 */
export function loadLocalKms({ path, create, randomBytes }: LocalKmsOptions): Kms {
  if (create) createKeyFile(path, randomBytes);
  const { active, keks } = readKeyFile(path);
  return createKms(keks, active);
}

/** The keys of a key file as a service. */
export function createFileKeyService({ keks }: KeyFile): KeyService {
  const keys = new Map(Object.keys(keks).map((id) => [id, createKms(keks, id)]));
  const find = (id: string): Kms => {
    const kms = keys.get(id);
    if (!kms) throw kekMissing(id);
    return kms;
  };
  return {
    provider: 'local',
    wrap: async (kekId, dek, aad) => (await find(kekId).wrap(dek, aad)).wrapped,
    unwrap: async (kekId, wrapped, aad) => find(kekId).unwrap(kekId, wrapped, aad),
  };
}

function createKms(keks: KeyFile['keks'], active: string): Kms {
  const keys = new Map(Object.entries(keks).map(([id, text]) => [id, Buffer.from(text, 'base64')]));
  try {
    return createLocalKms(keys, active);
  } finally {
    for (const key of keys.values()) key.fill(0);
  }
}
