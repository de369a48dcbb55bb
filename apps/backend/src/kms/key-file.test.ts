import {
  chownSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { addKey, createKeyFile, readKeyFile, selectKey } from './key-file.ts';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kontext-kek-'));
  path = join(directory, 'kek.json');
  createKeyFile(path);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const refusedWith = (code: string) => expect.objectContaining({ code });

test('a rotation adds a key and makes it active; the old one stays, mode and directory stay clean', () => {
  const before = readKeyFile(path);

  const id = addKey(path, 'active');

  const after = readKeyFile(path);
  expect(after.active).toBe(id);
  expect(after.keks).toEqual({ ...before.keks, [id]: after.keks[id] });
  expect(Buffer.from(after.keks[id]!, 'base64')).toHaveLength(32);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(directory)).toEqual(['kek.json']);
});

test('a prepared key is used by the next rotation, which adds none', () => {
  const { active } = readKeyFile(path);
  const prepared = addKey(path, 'next');
  expect(readKeyFile(path)).toMatchObject({ active, next: prepared });
  expect(() => addKey(path, 'next')).toThrow(refusedWith('KX_CONFIG_INVALID'));

  expect(addKey(path, 'active')).toBe(prepared);

  expect(readKeyFile(path).active).toBe(prepared);
  expect(readKeyFile(path)).not.toHaveProperty('next');
  expect(Object.keys(readKeyFile(path).keks)).toHaveLength(2);
});

test('an older key can be made active again, a key that is not there cannot', () => {
  const { active: old } = readKeyFile(path);
  addKey(path, 'active');
  const prepared = addKey(path, 'next');
  selectKey(path, old);
  expect(readKeyFile(path)).toMatchObject({ active: old, next: prepared });
  expect(() => selectKey(path, 'kek-0000000000000000')).toThrow(refusedWith('KX_KEK_MISSING'));
});

test('two changes at once: the second is refused, so that no key is lost', () => {
  writeFileSync(`${path}.lock`, '');
  const before = readKeyFile(path);
  expect(() => addKey(path, 'active')).toThrow(
    expect.objectContaining({ code: 'KX_CONFIG_INVALID', hint: `remove ${path}.lock` }),
  );
  expect(readKeyFile(path)).toEqual(before);
  expect(readdirSync(directory)).toContain('kek.json.lock');
});

test('a link to the key file stays a link', () => {
  const link = join(directory, 'link.json');
  symlinkSync(path, link);
  const id = addKey(link, 'active');
  expect(lstatSync(link).isSymbolicLink()).toBe(true);
  expect(readKeyFile(path).active).toBe(id);
});

test('a file that is missing or damaged is not replaced by a new one', () => {
  expect(() => addKey(join(directory, 'none.json'), 'active')).toThrow(refusedWith('KX_KEK_MISSING'));
  writeFileSync(path, '{"v":1,"active":"a","next":"b","keks":{"a":"AAAA"}}');
  expect(() => addKey(path, 'active')).toThrow(refusedWith('KX_KEK_MISSING'));
  expect(() => addKey(join(directory, 'no', 'such.json'), 'active')).toThrow(
    refusedWith('KX_CONFIG_INVALID'),
  );
  expect(readdirSync(directory)).toEqual(['kek.json']);
});

// Only root can give a file away.
test.runIf(process.geteuid?.() === 0)('a key file of another user is refused, whatever its mode', () => {
  chownSync(path, 12_345, 12_345);
  expect(() => readKeyFile(path)).toThrow(
    expect.objectContaining({ code: 'KX_KEK_MISSING', why: 'it belongs to another user' }),
  );
  chownSync(path, process.geteuid?.() ?? 0, process.getegid?.() ?? 0);
  expect(readKeyFile(path).v).toBe(1);
});
