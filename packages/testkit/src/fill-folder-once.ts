import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Gives `parent/name`, filled by the first process that asks for it; the others find it filled.
 *
 * @param fill Fills an empty folder. Two processes that come at once both do it, and one result is kept: it must be as good
 *   as the other.
 * @returns The folder's path. Whoever wants to write copies it.
 */
export async function fillFolderOnce(
  parent: string,
  name: string,
  fill: (folder: string) => Promise<void>,
): Promise<string> {
  const filled = join(parent, name);
  if (existsSync(filled)) return filled;
  mkdirSync(parent, { recursive: true });
  const folder = mkdtempSync(join(parent, 'filling-'));
  try {
    await fill(folder);
    keep(folder, filled);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return filled;
}

function keep(folder: string, filled: string): void {
  try {
    renameSync(folder, filled);
  } catch (error) {
    if (!existsSync(filled)) throw error;
  }
}
