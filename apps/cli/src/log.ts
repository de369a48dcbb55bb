import { appendFileSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';

/** Writes one line of the debug log. */
export type Log = (line: string) => void;

/**
 * Opens the debug log of `KONTEXT_LOG=debug`.
 *
 * What goes in is chosen by the caller from an allow-list: names of calls, codes, times, stack frames. Headers,
 * bodies, arguments and messages of foreign errors never do, since they could hold a secret.
 *
 * @param path Null: nothing is written.
 */
export function createLog(path: string | null): Log {
  if (path === null) return () => undefined;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  return (line) => {
    try {
      appendFileSync(path, `${new Date().toISOString()} ${process.pid} ${line}\n`, { mode: 0o600 });
    } catch {
      // A full disk must not end the command whose log this is.
    }
  };
}

/** An error and its causes as log lines: class, code and stack frames, without their messages. */
export function errorLines(error: unknown, depth = 0): string[] {
  if (!(error instanceof Error) || depth > 5) return [];
  const code = 'code' in error && typeof error.code === 'string' ? ` ${error.code}` : '';
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  return [
    `${depth === 0 ? 'error' : 'cause'} ${error.name}${code}`,
    ...frames,
    ...errorLines(error.cause, depth + 1),
  ];
}
