/** Small JSON files in which the command remembers something between its runs; nothing in them is secret. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Reads one; null when it is not there, or holds no JSON object. What its members are is for the caller to check. */
export function readStateFile(path: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    return typeof value === 'object' ? (value as Record<string, unknown> | null) : null;
  } catch {
    return null;
  }
}

/**
 * Writes one, mode 0600 in a directory of mode 0700, by rename: a crash leaves the old content or the new one.
 *
 * @param text JSON.
 */
export function writeStateFile(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.tmp`;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(temporary, text, { mode: 0o600 });
  renameSync(temporary, path);
}
