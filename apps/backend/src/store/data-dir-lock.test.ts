import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lockDataDir } from './data-dir-lock.ts';
import { openPgliteStore } from './pglite-store.ts';

let directory: string;
beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), 'kontext-lock-')), 'db');
});
afterEach(() => rmSync(join(directory, '..'), { recursive: true, force: true }));

const locked = expect.objectContaining({ code: 'KX_STORE_LOCKED' });

test('a directory that is taken is refused, and free again after its release', () => {
  const lock = lockDataDir(directory);
  expect(() => lockDataDir(directory)).toThrow(locked);
  lock.release();
  lock.release();
  lockDataDir(directory).release();
});

test('the directory is made with mode 0700', () => {
  lockDataDir(directory).release();
  expect(statSync(directory).mode & 0o777).toBe(0o700);
});

test('a directory taken by another living process is refused, naming it; after its death it is free', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  await once(child, 'spawn');
  const started = await import('node:fs').then((fs) => {
    if (!existsSync('/proc/self/stat')) return '-';
    const stat = fs.readFileSync(`/proc/${child.pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  });
  lockDataDir(directory).release();
  writeFileSync(`${directory}.lock`, `${child.pid} ${started}`);
  expect(() => lockDataDir(directory)).toThrow(
    expect.objectContaining({ why: `process ${child.pid} has it open` }),
  );
  child.kill('SIGKILL');
  await once(child, 'exit');
  lockDataDir(directory).release();
});

test('a lock whose pid was given to another process is stale', () => {
  lockDataDir(directory).release();
  writeFileSync(`${directory}.lock`, `${process.pid} 1`);
  if (existsSync('/proc/self/stat')) lockDataDir(directory).release();
  else expect(() => lockDataDir(directory)).toThrow(locked);
});

test.each(['', 'garbage'])('a lock file with %j in it is stale', (content) => {
  lockDataDir(directory).release();
  writeFileSync(`${directory}.lock`, content);
  lockDataDir(directory).release();
});

test('the embedded database is opened by one store at a time and keeps its data', async () => {
  const first = await openPgliteStore(directory);
  await first.migrate();
  await expect(openPgliteStore(directory)).rejects.toThrow(locked);
  await first.close();
  const second = await openPgliteStore(directory);
  expect((await second.schemaState()).state).toBe('current');
  await second.close();
});
