import { createHash } from 'node:crypto';
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makePrivateDirectory } from '../hooks/private-directory.ts';
import { awaitRefresh, serveRefresh } from './refresh-share.ts';

/** A refresh takes one request; a lock older than this was left by a process that died. */
const staleAfterMs = 20_000;
const pollMs = 25;

/** How a result travels to the processes that wait for it. */
export interface SharedResult<T> {
  readonly encode: (result: T) => string;
  /** Null when it is of no use here: then this process works itself. */
  readonly decode: (text: string) => T | null;
}

/**
 * Lets one process of this user at a time refresh the login of one backend. Whoever waits meanwhile gets its result.
 *
 * @throws KontextError `KX_SOCKET_FAILED` when others could reach the directory of the lock.
 * @param work Told whether another process held the lock meanwhile: then the stored login may be newer.
 */
export async function withRefreshLock<T>(
  stateDir: string,
  apiUrl: string,
  shared: SharedResult<T>,
  work: (hadToWait: boolean) => Promise<T>,
): Promise<T> {
  const name = createHash('sha256').update(apiUrl).digest('hex').slice(0, 16);
  const path = join(stateDir, 'locks', `refresh-${name}.lock`);
  const socket = join(stateDir, 'locks', `refresh-${name}.sock`);
  // What goes through the socket is a token: the directory is all that keeps others from it.
  makePrivateDirectory(join(stateDir, 'locks'));
  let hadToWait = false;
  while (!tryLock(path)) {
    hadToWait = true;
    const text = await awaitRefresh(socket);
    const result = text === null ? null : shared.decode(text);
    if (result !== null) return result;
    if (isStale(path)) rmSync(path, { force: true });
    else await sleep(pollMs);
  }
  const share = await serveRefresh(socket);
  let text: string | null = null;
  try {
    const result = await work(hadToWait);
    text = shared.encode(result);
    return result;
  } finally {
    await share.finish(text);
    rmSync(path, { force: true });
  }
}

function tryLock(path: string): boolean {
  try {
    writeFileSync(path, String(process.pid), { flag: 'wx', mode: 0o600 });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

/** By age, not by pid: a pid may belong to another container that shares the directory. */
function isStale(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat !== undefined && Math.abs(Date.now() - stat.mtimeMs) > staleAfterMs;
}
