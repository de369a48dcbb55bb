import { chmodSync, lstatSync, mkdirSync } from 'node:fs';
import { KontextError } from '@kontext/errors';

/**
 * Makes a directory only this user can enter, parents included, or checks that an existing one is that.
 *
 * A link in its place is refused: whoever made it chooses where our files land.
 *
 * @throws KontextError `KX_SOCKET_FAILED` when it is a link, no directory, or belongs to another user.
 */
export function makePrivateDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new KontextError('KX_SOCKET_FAILED', `${path} cannot be made`, { cause });
  }
  const stat = lstatSync(path);
  const uid = process.getuid?.() ?? stat.uid;
  if (!stat.isDirectory() || stat.uid !== uid) {
    throw new KontextError('KX_SOCKET_FAILED', `${path} cannot be used`, {
      why: stat.isSymbolicLink() ? 'it is a symbolic link' : 'it is not a directory of this user',
    });
  }
  if ((stat.mode & 0o077) !== 0) chmodSync(path, 0o700);
}
