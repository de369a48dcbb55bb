import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { loadConfig } from '../config.ts';
import { loadServerKeys } from '../login/server-keys.ts';
import { ensureSchema, openVault, withStore } from './open-backend.ts';
import { rotateSigningKeysCommand } from './signing-keys.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kontext-signing-'));
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(directory, { recursive: true, force: true });
});

describe('kontext-backend signing-keys rotate', () => {
  it('refuses while the next key is not known everywhere, then lets it sign', async () => {
    const config = loadConfig({ KONTEXT_DATA_DIR: join(directory, 'data') });
    const kids = () =>
      withStore(config, async (store) => {
        await ensureSchema(store, true);
        const { signing } = await loadServerKeys(store, await openVault(config, store), Date.now);
        return signing.map(({ kid }) => kid);
      });
    const [active, next] = await kids();

    await expect(rotateSigningKeysCommand(config)).rejects.toMatchObject({
      code: 'KX_REQUEST_INVALID',
      why: expect.stringContaining('10 minutes'),
    });
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 11 * 60_000 });
    const lines = await rotateSigningKeysCommand(config);

    expect(lines[0]).toContain(`${next} signs from now on`);
    const after = await kids();
    expect([after[0], after[2]]).toEqual([next, active]);
  });
});
