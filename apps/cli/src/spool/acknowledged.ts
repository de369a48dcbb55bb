import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The newest event the backend has acknowledged; seq 0 before the first. */
export interface Acknowledged {
  readonly seq: number;
  /** Chain value of that event, 32 bytes; null at seq 0. */
  readonly chain: Buffer | null;
}

const fileName = 'acknowledged.json';

/**
 * Writes the side file beside the segments, by rename: a crash leaves the old state or the new one. It is not synced,
 * because an old or unreadable one costs no more than sending again.
 */
export function writeAcknowledged(directory: string, { seq, chain }: Acknowledged): void {
  const path = join(directory, fileName);
  const temporary = `${path}.tmp`;
  writeFileSync(temporary, JSON.stringify({ v: 1, seq, chain: chain?.toString('base64') ?? null }), {
    mode: 0o600,
  });
  renameSync(temporary, path);
}

/**
 * Reads the side file. A missing or unreadable one counts as nothing acknowledged: sending again what is stored is
 * answered as a duplicate.
 */
export function readAcknowledged(directory: string): Acknowledged {
  try {
    const { v, seq, chain } = JSON.parse(readFileSync(join(directory, fileName), 'utf8')) as Record<
      string,
      unknown
    >;
    const bytes = typeof chain === 'string' ? Buffer.from(chain, 'base64') : null;
    if (v === 1 && Number.isSafeInteger(seq) && bytes?.length === 32)
      return { seq: seq as number, chain: bytes };
  } catch {
    // Counts as nothing.
  }
  return { seq: 0, chain: null };
}
