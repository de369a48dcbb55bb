import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createHookServer } from './hook-server.ts';
import { sweepRuntime } from './sweep-runtime.ts';

let runtimeDir: string;
const closers: (() => unknown)[] = [];
beforeEach(() => {
  runtimeDir = mkdtempSync(join(tmpdir(), 'kx-sweep-'));
});
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  rmSync(runtimeDir, { recursive: true, force: true });
});

/** A session's directory whose process has ended. */
function leaveDirectory(name = 'hAbc123'): string {
  const path = join(runtimeDir, name);
  mkdirSync(path, { mode: 0o700 });
  const { pid } = spawnSync(process.execPath, ['-e', '0']);
  writeFileSync(join(path, 'writer.json'), JSON.stringify({ v: 1, pid, startedAt: '1' }));
  writeFileSync(join(path, 's.key'), Buffer.alloc(32), { mode: 0o400 });
  return path;
}

/** A socket as a killed server leaves it: there, with nobody behind it. */
function leaveSocket(path: string): void {
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  expect(existsSync(path)).toBe(true);
}

it('removes what a killed process left', async () => {
  const path = leaveDirectory();
  leaveSocket(join(path, 's'));
  leaveDirectory('hWithou');
  expect(await sweepRuntime(runtimeDir)).toEqual({ removed: 2, missed: 0 });
  expect(existsSync(path)).toBe(false);
});

it('leaves the directory of a live session', async () => {
  const server = await createHookServer({
    runtimeDir,
    handleHook: () => Promise.reject(new Error('not called')),
    onFailure: () => ({ exitCode: 0, stdout: new Uint8Array(), stderr: new Uint8Array() }),
  });
  closers.push(server.close);
  expect((await sweepRuntime(runtimeDir)).removed).toBe(0);
  expect(existsSync(server.socketPath)).toBe(true);
});

it('leaves a directory whose socket answers, whatever its mark says: the process may be in another container', async () => {
  const path = leaveDirectory();
  const server: Server = createServer();
  await new Promise<void>((resolve) => server.listen(join(path, 's'), resolve));
  closers.push(() => server.close());
  expect((await sweepRuntime(runtimeDir)).removed).toBe(0);
});

it('leaves what an agent still writes to, and counts what it missed once that rests', async () => {
  const missed = join(leaveDirectory(), 's.missed');
  writeFileSync(missed, 'one\ntwo\n');
  expect((await sweepRuntime(runtimeDir)).removed).toBe(0);
  const past = new Date(Date.now() - 3_600_000);
  utimesSync(missed, past, past);
  expect(await sweepRuntime(runtimeDir)).toEqual({ removed: 1, missed: 2 });
});

it('touches nothing that has another name or is a link', async () => {
  const target = leaveDirectory('other-name');
  symlinkSync(target, join(runtimeDir, 'hLink00'));
  expect((await sweepRuntime(runtimeDir)).removed).toBe(0);
  expect(existsSync(join(target, 's.key'))).toBe(true);
});

it('does nothing where there is no runtime directory', async () => {
  expect(await sweepRuntime(join(runtimeDir, 'none'))).toEqual({ removed: 0, missed: 0 });
});
