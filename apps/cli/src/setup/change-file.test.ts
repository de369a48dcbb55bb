import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { changeFile } from './change-file.ts';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kx-'));
  path = join(directory, 'settings.json');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const read = (file: string): string => readFileSync(file, 'utf8');

describe('changing a file of the user', () => {
  it('keeps its mode and a dated copy of what it was', async () => {
    writeFileSync(path, 'old');
    chmodSync(path, 0o640);

    const { backup, changed } = await changeFile(
      path,
      (text) => `${text}+new`,
      Date.UTC(2026, 0, 2, 3, 4, 5),
    );

    expect({ changed, backup }).toEqual({
      changed: true,
      backup: `${path}.kontext-backup-2026-01-02T03-04-05-000Z`,
    });
    expect(read(path)).toBe('old+new');
    expect(read(backup!)).toBe('old');
    expect(statSync(path).mode & 0o777).toBe(0o640);
    expect(readdirSync(directory)).toHaveLength(2);
  });

  it('makes a private file and no copy where there was none', async () => {
    const nested = join(directory, 'a', 'b.json');

    expect(await changeFile(nested, () => 'new')).toEqual({ path: nested, changed: true, backup: null });
    expect(statSync(nested).mode & 0o777).toBe(0o600);
  });

  it('leaves file and folder alone when nothing is to be changed', async () => {
    writeFileSync(path, 'old');
    const { mtimeMs, ino } = statSync(path);

    expect(await changeFile(path, (text) => text)).toMatchObject({ changed: false, backup: null });
    expect(statSync(path)).toMatchObject({ mtimeMs, ino });
    expect(readdirSync(directory)).toEqual(['settings.json']);
  });

  it('follows links and keeps them', async () => {
    mkdirSync(join(directory, 'dotfiles'));
    const real = join(directory, 'dotfiles', 'claude.json');
    writeFileSync(real, 'old');
    symlinkSync('dotfiles/claude.json', join(directory, 'between'));
    symlinkSync('between', path);

    await changeFile(path, () => 'new');

    expect(readlinkSync(path)).toBe('between');
    expect(lstatSync(real).isFile()).toBe(true);
    expect(read(real)).toBe('new');
  });

  it('fills in the file a link points to in vain', async () => {
    symlinkSync('later.json', path);

    await changeFile(path, () => 'new');

    expect(read(join(directory, 'later.json'))).toBe('new');
  });

  it('refuses links that go round in a circle', async () => {
    symlinkSync('other', path);
    symlinkSync('settings.json', join(directory, 'other'));

    await expect(changeFile(path, () => 'new')).rejects.toMatchObject({ code: 'KX_SETUP_FAILED' });
  });

  it('begins anew when another program writes meanwhile, and gives up when it goes on', async () => {
    writeFileSync(path, '1');
    let calls = 0;
    await changeFile(path, (text) => {
      calls += 1;
      if (calls === 1) writeFileSync(path, '2');
      return `${text}!`;
    });
    expect(read(path)).toBe('2!');
    expect(readdirSync(directory).filter((name) => name.includes('backup'))).toHaveLength(1);

    const endless = changeFile(path, (text) => {
      writeFileSync(path, `${text}.`);
      return `${text}!`;
    });
    await expect(endless).rejects.toMatchObject({ code: 'KX_SETUP_FAILED' });
  });

  it('lets nothing be lost when many change it at once', async () => {
    writeFileSync(path, '');
    const lines = Array.from({ length: 12 }, (_, index) => `line ${index}\n`);

    await Promise.all(lines.map((line) => changeFile(path, (text) => text + line)));

    expect(read(path).split('\n').filter(Boolean).sort()).toEqual(lines.map((line) => line.trim()).sort());
  });

  it('takes the lock of a process that died', async () => {
    writeFileSync(`${path}.kontext-lock`, '1');
    utimesSync(`${path}.kontext-lock`, 0, 0);

    expect(await changeFile(path, () => 'new')).toMatchObject({ changed: true });
  });

  it('does not write what the change refuses, nor over bytes that are no text', async () => {
    writeFileSync(path, Buffer.of(0xff, 0xfe));
    await expect(changeFile(path, () => 'new')).rejects.toMatchObject({ code: 'KX_SETUP_FAILED' });
    expect(readFileSync(path)).toEqual(Buffer.of(0xff, 0xfe));
    expect(readdirSync(directory)).toEqual(['settings.json']);
  });
});
