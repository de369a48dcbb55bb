import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fillFolderOnce } from './fill-folder-once.ts';

describe('fillFolderOnce', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'kontext-fill-'));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));
  const write = (text: string) => async (folder: string) => writeFileSync(join(folder, 'file'), text);

  test('fills the folder the first time and finds it afterwards', async () => {
    const parent = join(root, 'cache');
    const first = await fillFolderOnce(parent, 'made', write('first'));
    expect(await fillFolderOnce(parent, 'made', write('second'))).toBe(first);
    expect(readFileSync(join(first, 'file'), 'utf8')).toBe('first');
  });

  test('keeps one result of two that come at once, and no half', async () => {
    const made = await Promise.all([
      fillFolderOnce(root, 'made', write('one')),
      fillFolderOnce(root, 'made', write('two')),
    ]);
    expect(new Set(made).size).toBe(1);
    expect(readFileSync(join(root, 'made', 'file'), 'utf8')).toMatch(/^(one|two)$/);
    expect(readdirSync(root)).toEqual(['made']);
  });

  test('leaves nothing of a filling that failed', async () => {
    const fail = async (folder: string) => {
      writeFileSync(join(folder, 'half'), '');
      throw new Error('no space');
    };
    await expect(fillFolderOnce(root, 'made', fail)).rejects.toThrow('no space');
    expect(existsSync(join(root, 'made'))).toBe(false);
    expect(readdirSync(root)).toEqual([]);
  });
});
