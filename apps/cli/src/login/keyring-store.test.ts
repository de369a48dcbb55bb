import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { absentKeyringEnv, type Keyring, partState, startKeyring } from '@kontext/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createKeyringStore } from './keyring-store.ts';

const env = { PATH: process.env.PATH ?? '' };
const state = partState('keyring');

describe.skipIf(!state.available)(`a Secret Service ${state.reason}`, () => {
  let keyring: Keyring;
  beforeAll(async () => {
    keyring = await startKeyring();
  });
  afterAll(() => keyring.stop());

  it('keeps, gives back and deletes a value', async () => {
    const store = createKeyringStore({ ...env, ...keyring.env });
    await store.probe();
    await store.set('https://a.example', 'value with "quotes" and \u2028');
    expect(await store.get('https://a.example')).toBe('value with "quotes" and \u2028');
    expect(await store.get('https://b.example')).toBeNull();
    expect(await store.delete('https://a.example')).toBe(true);
    expect(await store.delete('https://a.example')).toBe(false);
    expect(await store.get('https://a.example')).toBeNull();
  });

  it('that is locked is a typed error, for the probe and for a read', async () => {
    const store = createKeyringStore({ ...env, ...keyring.env });
    await store.set('account', 'value');
    await keyring.lock();
    const locked = {
      code: 'KX_KEYRING_LOCKED',
      hint: expect.stringContaining('unlock'),
      spec: { exitCode: 78 },
    };
    await expect(store.probe()).rejects.toMatchObject(locked);
    await expect(store.get('account')).rejects.toMatchObject(locked);
    await keyring.unlock();
    expect(await store.get('account')).toBe('value');
  });
});

describe('a machine without Secret Service', () => {
  it('gives a typed error that names the way out', async () => {
    const store = createKeyringStore({ ...env, ...absentKeyringEnv() });
    await expect(store.probe()).rejects.toMatchObject({
      code: 'KX_KEYRING_UNAVAILABLE',
      why: expect.stringContaining('no Secret Service'),
      hint: expect.stringContaining('--insecure-storage'),
    });
  });

  it('gives a typed error within the limit when the bus accepts and never answers', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'kx-bus-'));
    const bus = createServer(() => undefined);
    await new Promise<void>((resolve) => bus.listen(join(directory, 'bus'), resolve));
    const store = createKeyringStore(
      { ...env, DBUS_SESSION_BUS_ADDRESS: `unix:path=${join(directory, 'bus')}` },
      { timeoutMs: 300 },
    );

    await expect(store.get('account')).rejects.toMatchObject({
      code: 'KX_KEYRING_UNAVAILABLE',
      why: expect.stringContaining('did not answer'),
    });

    bus.close();
    rmSync(directory, { recursive: true });
  });

  it('does not let NODE_OPTIONS load code into the process that sees the login', async () => {
    const store = createKeyringStore({
      ...env,
      ...absentKeyringEnv(),
      NODE_OPTIONS: '--require /nonexistent/evil.js',
    });
    // With the option the helper would die before it could say what is wrong.
    await expect(store.probe()).rejects.toMatchObject({ why: expect.stringContaining('no Secret Service') });
  });
});
