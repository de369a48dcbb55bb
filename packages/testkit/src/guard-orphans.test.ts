import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { endProcess, guardOrphans } from './guard-orphans.ts';

it('ends the parts and removes the folders of an owner that was killed', async () => {
  const owner = spawn('sleep', ['600'], { stdio: 'ignore' });
  const part = spawn('sleep', ['600'], { stdio: 'ignore' });
  const directory = mkdtempSync(join(tmpdir(), 'kx-guard-'));
  writeFileSync(join(directory, 'file'), '');
  const partGone = once(part, 'exit');
  guardOrphans(owner.pid ?? 0, [part.pid ?? 0], [directory]);

  endProcess(owner.pid ?? 0);

  await partGone;
  await vi.waitFor(() => expect(existsSync(directory)).toBe(false), { timeout: 20_000, interval: 100 });
});

it('does nothing after it was released', async () => {
  const owner = spawn('sleep', ['600'], { stdio: 'ignore' });
  const part = spawn('sleep', ['600'], { stdio: 'ignore' });
  const guard = guardOrphans(owner.pid ?? 0, [part.pid ?? 0], []);

  guard.release();
  endProcess(owner.pid ?? 0);
  await once(owner, 'exit');

  expect(part.exitCode ?? part.signalCode).toBeNull();
  endProcess(part.pid ?? 0);
});
