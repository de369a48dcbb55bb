import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { withRefreshLock } from './refresh-lock.ts';

const shared = { encode: (text: string) => text, decode: (text: string) => text };

describe('the lock around a refresh', () => {
  let stateDir: string;
  beforeEach(() => {
    stateDir = mkdtempSync(join(tmpdir(), 'kontext-lock-'));
  });
  afterEach(() => rmSync(stateDir, { recursive: true, force: true }));
  const locks = () => join(stateDir, 'locks');

  test('nobody else reaches the socket, also where the directory was made with other rights', async () => {
    mkdirSync(locks());
    chmodSync(locks(), 0o777);
    await withRefreshLock(stateDir, 'https://kontext.example', shared, async () => {
      expect(statSync(locks()).mode & 0o077).toBe(0);
      expect(readdirSync(locks()).some((name) => name.endsWith('.sock'))).toBe(true);
      return 'token';
    });
  });

  test('a directory that is a link is refused: whoever made it would get the token', async () => {
    const elsewhere = mkdtempSync(join(tmpdir(), 'kontext-lock-'));
    symlinkSync(elsewhere, locks());
    const refresh = withRefreshLock(stateDir, 'https://kontext.example', shared, async () => 'token');
    await expect(refresh).rejects.toMatchObject({ code: 'KX_SOCKET_FAILED' });
    rmSync(elsewhere, { recursive: true });
  });
});
