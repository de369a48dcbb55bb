import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

/** Finds an executable in the folders of PATH, as a shell would; returns its absolute path, or null. */
export function findOnPath(program: string): string | null {
  const folders = (process.env.PATH ?? '').split(':').filter((folder) => folder.startsWith('/'));
  return folders.map((folder) => join(folder, program)).find(isExecutable) ?? null;
}

/** Whether this user may execute the file. */
export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
