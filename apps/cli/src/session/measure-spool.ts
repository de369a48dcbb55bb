import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** What waits to be sent. */
export interface SpoolSize {
  /** Sessions, running ones included. */
  readonly sessions: number;
  readonly bytes: number;
}

/** Looks at the spool: each session that has something to send has a directory of its own. */
export function measureSpool(stateDir: string): SpoolSize {
  const root = join(stateDir, 'spool');
  const sessions = list(root).filter((name) => name.startsWith('ses_'));
  const sizes = sessions.flatMap((session) =>
    list(join(root, session)).map((file) => sizeOf(join(root, session, file))),
  );
  return { sessions: sessions.length, bytes: sizes.reduce((sum, size) => sum + size, 0) };
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
