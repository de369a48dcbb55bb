import { createHash } from 'node:crypto';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fillFolderOnce, findFreePort, scratchHome } from '@kontext/testkit';
import { builtPrograms, repositoryRoot, startBackend } from './programs.ts';

/**
 * Copies an embedded database that has had its first start, and its key file beside it.
 *
 * A first start costs seconds and dozens of stories need one, so the result is kept per build of the backend. It holds
 * nothing but an empty organisation and a passcode that opens it.
 *
 * @param root Folder that gets `backend` and `backend-keys`.
 * @returns Passcode of the local account in it.
 */
export async function copyPreparedData(root: string): Promise<string> {
  const cache = fileURLToPath(new URL('node_modules/.cache/kontext/', repositoryRoot()));
  const prepared = await fillFolderOnce(cache, `prepared-${hashOfBackend()}`, prepare);
  for (const name of ['backend', 'backend-keys'])
    cpSync(join(prepared, name), join(root, name), { recursive: true });
  return readFileSync(join(prepared, 'passcode'), 'utf8');
}

async function prepare(folder: string): Promise<void> {
  const home = scratchHome();
  try {
    const env = {
      ...home.env,
      KONTEXT_LISTEN: `127.0.0.1:${await findFreePort()}`,
      KONTEXT_DATA_DIR: join(folder, 'backend'),
    };
    const backend = await startBackend(builtPrograms().backend, env);
    await backend.stop();
    writeFileSync(join(folder, 'passcode'), backend.passcode);
  } finally {
    home.remove();
  }
}

function hashOfBackend(): string {
  const dist = fileURLToPath(new URL('apps/backend/dist/', repositoryRoot()));
  const files = readdirSync(dist, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const hash = createHash('sha256');
  for (const name of files.map((entry) => join(entry.parentPath, entry.name)).sort())
    hash.update(readFileSync(name));
  return hash.digest('hex').slice(0, 16);
}
