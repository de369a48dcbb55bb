import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { hasLiveOwner } from '../process-mark.ts';
import { readBacklog, type UploadTrouble } from '../spool/acknowledged.ts';

/** What waits to be sent. */
export interface SpoolSize {
  /** Sessions with something to send, running ones included. */
  readonly sessions: number;
  readonly bytes: number;
  /** Events recorded and not acknowledged; a killed session's last second may be missing. */
  readonly events: number;
  /** When the oldest of them was recorded, RFC 3339; null when none waits. */
  readonly oldestAt: string | null;
  /** What stops the upload of a running session; null when nothing does. */
  readonly trouble: UploadTrouble | null;
  /** Spools that the backend will never take, kept for a person to look at. */
  readonly refused: number;
}

/** Looks at the spool: each session that has something to send has a directory of its own. */
export function measureSpool(stateDir: string): SpoolSize {
  const root = join(stateDir, 'spool');
  const names = list(root).filter((name) => name.startsWith('ses_'));
  const measured = names
    .filter((name) => !name.endsWith('.refused'))
    .map((name) => measure(join(root, name)))
    .filter(({ isWaiting }) => isWaiting);
  const oldest = measured.flatMap(({ oldestAt }) => (oldestAt === null ? [] : [oldestAt])).sort();
  const troubles = measured.flatMap(({ trouble }) => (trouble === null ? [] : [trouble]));
  return {
    sessions: measured.length,
    bytes: sum(measured.map(({ bytes }) => bytes)),
    events: sum(measured.map(({ events }) => events)),
    oldestAt: oldest[0] ?? null,
    trouble: troubles.find(({ state }) => state === 'stopped') ?? troubles[0] ?? null,
    refused: names.length - names.filter((name) => !name.endsWith('.refused')).length,
  };
}

function measure(path: string) {
  const files = list(path).map((file) => join(path, file));
  const bytes = sum(files.map((file) => statSync(file, { throwIfNoEntry: false })?.size ?? 0));
  const alive = hasLiveOwner(path);
  const backlog = readBacklog(path);
  if (backlog !== null) {
    const { events, oldestAt, trouble } = backlog;
    return { bytes, events, oldestAt, trouble: alive ? trouble : null, isWaiting: !alive || events > 0 };
  }
  const segments = files.filter((file) => file.endsWith('.ndjson')).sort();
  const firstAt = segments[0] && statSync(segments[0], { throwIfNoEntry: false })?.birthtime;
  return {
    ...{ bytes, trouble: null, isWaiting: true },
    events: sum(segments.map(countRecords)),
    oldestAt: firstAt ? firstAt.toISOString() : null,
  };
}

/** The frame of a line is not sealed. */
function countRecords(segment: string): number {
  try {
    return readFileSync(segment, 'latin1').split('"kind":"record"').length - 1;
  } catch {
    return 0;
  }
}

/** "3 event(s) of 1 session(s) wait to be sent, the oldest for 12 min"; the reason follows when there is one. */
export function describeBacklog(size: SpoolSize, nowMs: number): string {
  const { sessions, events, bytes, oldestAt, trouble, refused } = size;
  const age = oldestAt === null ? '' : `, the oldest for ${describeAge(nowMs - Date.parse(oldestAt))}`;
  const waiting = `${events} event(s) of ${sessions} session(s), ${bytes} bytes, wait to be sent${age}`;
  const why = trouble === null ? '' : `; ${trouble.state}: ${trouble.message} (${trouble.code})`;
  const kept = refused === 0 ? '' : `; ${refused} session(s) that the backend refused are kept`;
  return `${sessions === 0 ? 'empty' : waiting}${why}${kept}`;
}

function describeAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} days`;
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
