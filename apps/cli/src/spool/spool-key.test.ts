import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KontextError } from '@kontext/errors';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createSpoolKeyStore, type SecretItems } from './spool-key.ts';

let stateDir: string;
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'kontext-key-'));
});
afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

const apiUrl = 'http://127.0.0.1:4180';

function memoryItems(
  stored = new Map<string, string>(),
): SecretItems & { readonly stored: Map<string, string> } {
  return {
    stored,
    get: async (account) => stored.get(account) ?? null,
    set: async (account, value) => void stored.set(account, value),
  };
}

const unavailable: SecretItems = {
  get: () => Promise.reject(new KontextError('KX_KEYRING_UNAVAILABLE', 'no keyring')),
  set: () => Promise.reject(new KontextError('KX_KEYRING_UNAVAILABLE', 'no keyring')),
};

describe('spool key', () => {
  it('is made once and the same from then on, in an item of its own', async () => {
    const items = memoryItems();
    const announced: string[] = [];
    const load = () =>
      createSpoolKeyStore({ items, apiUrl, stateDir, announce: (p) => announced.push(p) }).load();
    const first = await load();
    expect(first).toHaveLength(32);
    expect(await load()).toEqual(first);
    expect([...items.stored.keys()]).toEqual([`spool-key ${apiUrl}`]);
    expect(announced).toEqual([]);
  });

  it('is what was stored last when two first runs met', async () => {
    const items = memoryItems();
    const other = JSON.stringify({ v: 1, key: Buffer.alloc(32, 9).toString('base64') });
    const set = async (account: string) => void items.stored.set(account, other);
    const store = createSpoolKeyStore({
      items: { ...items, set },
      apiUrl,
      stateDir,
      announce: () => undefined,
    });
    expect(await store.load()).toEqual(Buffer.alloc(32, 9));
  });

  it('is kept in a file of mode 0600, announced every time, where there is no keyring', async () => {
    const announced: string[] = [];
    const load = () =>
      createSpoolKeyStore({
        items: unavailable,
        apiUrl,
        stateDir,
        announce: (p) => announced.push(p),
      }).load();
    const first = await load();
    expect(await load()).toEqual(first);
    expect(announced).toEqual(Array(2).fill(join(stateDir, 'spool', 'key')));
    expect(statSync(announced[0]!).mode & 0o777).toBe(0o600);
  });

  it.each([
    ['text', 'hello'],
    ['another version', '{"v":2,"key":""}'],
    ['a short key', '{"v":1,"key":"AAAA"}'],
  ])('is refused when the item holds %s', async (_name, value) => {
    const items = memoryItems(new Map([[`spool-key ${apiUrl}`, value]]));
    const store = createSpoolKeyStore({ items, apiUrl, stateDir, announce: () => undefined });
    await expect(store.load()).rejects.toMatchObject({ code: 'KX_SPOOL_CORRUPT' });
  });

  it('does not go to a file when the keyring answered with another error', async () => {
    const items = {
      ...unavailable,
      get: () => Promise.reject(new KontextError('KX_KEYRING_ITEM_INVALID', 'broken')),
    };
    const store = createSpoolKeyStore({ items, apiUrl, stateDir, announce: () => undefined });
    await expect(store.load()).rejects.toMatchObject({ code: 'KX_KEYRING_ITEM_INVALID' });
  });
});
