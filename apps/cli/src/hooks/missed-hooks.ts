import { readAtMost } from '../read-at-most.ts';

/** What is read of the file at most. */
const maxBytes = 1_048_576;

/**
 * Counts the hooks that reached no server and let what they were about go on, by event. Clients leave a line each:
 * `<time> <agent> <event> <reason>`.
 *
 * @param path `<socket>.missed`; a file that is not there counts nothing.
 */
export function countMissedHooks(path: string): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const line of readLines(path)) {
    const [, , event = ''] = line.split(' ', 3);
    if (event !== '') counts.set(event, (counts.get(event) ?? 0) + 1);
  }
  return counts;
}

function readLines(path: string): readonly string[] {
  try {
    return readAtMost(path, maxBytes).toString('utf8').split('\n');
  } catch {
    return [];
  }
}
