import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Config } from '../config.ts';
import { createLogger } from '../log.ts';
import { keks, secrets } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import { createKeyFile } from './key-file.ts';
import type { KeyConfig } from './open-keyring.ts';

/** A key file in a directory of its own. */
export interface TestKeyFile {
  readonly path: string;
  readonly config: KeyConfig;
  remove(): void;
}

/** Makes a key file with one key, and the configuration that names it. */
export function createTestKeyFile(extra: Partial<Config> = {}): TestKeyFile {
  const directory = mkdtempSync(join(tmpdir(), 'kontext-keys-'));
  const path = join(directory, 'kek.json');
  createKeyFile(path);
  return {
    path,
    config: { kekFile: path, local: false, dataDir: directory, kmsKeys: [], vault: null, ...extra },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** A log that keeps its lines. */
export function createTestLog() {
  const lines: { level: number; msg: string }[] = [];
  const logger = createLogger('info', { write: (line: string) => void lines.push(JSON.parse(line)) });
  const messages = (): string[] => lines.map(({ msg }) => msg);
  return { logger, messages };
}

/** Empties the tables of keys and of secrets that belong to nothing. */
export const clearKeys = (store: Store): Promise<void> =>
  store.transaction({ role: 'system', orgId: null }, async (tx) => {
    await tx.delete(secrets);
    await tx.delete(keks);
  });
