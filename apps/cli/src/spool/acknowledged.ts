import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The newest event the backend has acknowledged; seq 0 before the first. */
export interface Acknowledged {
  readonly seq: number;
  /** Chain value of that event, 32 bytes; null at seq 0. */
  readonly chain: Buffer | null;
}

/** What waits behind it, for `kontext status`; at most a second old while the writer lives. */
export interface Backlog {
  /** Events on disk that are not acknowledged. */
  readonly events: number;
  /** When the oldest of them was recorded, RFC 3339; null when none waits. */
  readonly oldestAt: string | null;
  /** Why nothing is sent, and since when (RFC 3339); null while events flow. */
  readonly trouble: UploadTrouble | null;
}

/** A pause of the upload, or its end. */
export interface UploadTrouble {
  readonly state: 'waiting' | 'stopped';
  readonly since: string;
  readonly code: string;
  readonly message: string;
}

const fileName = 'acknowledged.json';

/**
 * Writes the side file beside the segments, by rename: a crash leaves the old state or the new one. It is not synced,
 * because an old or unreadable one costs no more than sending again.
 */
export function writeAcknowledged(
  directory: string,
  { seq, chain }: Acknowledged,
  backlog: Backlog | null = null,
): void {
  const path = join(directory, fileName);
  const temporary = `${path}.tmp`;
  const state = { v: 1, seq, chain: chain?.toString('base64') ?? null, backlog };
  writeFileSync(temporary, JSON.stringify(state), { mode: 0o600 });
  renameSync(temporary, path);
}

/** What the writer last said of its backlog; null when it never did, or the file cannot be read. */
export function readBacklog(directory: string): Backlog | null {
  try {
    const { v, backlog } = JSON.parse(readFileSync(join(directory, fileName), 'utf8')) as Record<
      string,
      unknown
    >;
    const known = backlog as Backlog | null;
    return v === 1 && Number.isSafeInteger(known?.events) ? known : null;
  } catch {
    return null;
  }
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
