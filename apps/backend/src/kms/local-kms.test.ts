import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createNewKeyFile } from './key-file.ts';
import { defaultKekFile, loadLocalKms } from './local-kms.ts';
import { openRow, sealAsRow } from './sealed-secrets.ts';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kontext-kek-'));
  path = join(directory, 'keys', 'kek.json');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const context = { purpose: 'connection', orgId: 'org_a', subjectId: 'con_a', version: 1 } as const;
const secret = Buffer.from('a refresh token');

test('the first start makes the key file with mode 0600 in a directory of 0700', () => {
  loadLocalKms({ path, create: true });
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(statSync(join(directory, 'keys')).mode & 0o777).toBe(0o700);
});

test('the next start opens what the first one sealed', async () => {
  const row = await sealAsRow(loadLocalKms({ path, create: true }), context, secret, new Date());
  expect(await openRow(loadLocalKms({ path, create: true }), context, row)).toEqual(secret);
});

test('a sealed row opens for its own organisation, subject, purpose and version alone', async () => {
  const kms = loadLocalKms({ path, create: true });
  const row = await sealAsRow(kms, context, secret, new Date());
  for (const change of [
    { orgId: 'org_b' },
    { orgId: null },
    { subjectId: 'con_b' },
    { purpose: 'x' },
    { version: 2 },
  ]) {
    const opening = openRow(kms, { ...context, ...change }, row);
    await expect(opening).rejects.toMatchObject({ code: 'KX_VAULT_OPEN' });
  }
  await expect(openRow(kms, context, { ...row, format: 2 })).rejects.toMatchObject({ code: 'KX_VAULT_OPEN' });
});

test('a retired key is named when something sealed under it is opened', async () => {
  const row = await sealAsRow(loadLocalKms({ path, create: true }), context, secret, new Date());
  rmSync(path);
  await expect(openRow(loadLocalKms({ path, create: true }), context, row)).rejects.toMatchObject({
    code: 'KX_KEK_MISSING',
  });
});

test('a new key file is made for its owner alone, can be used, and is never replaced', () => {
  createNewKeyFile(path);
  const made = readFileSync(path, 'utf8');
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(loadLocalKms({ path, create: false }).activeKekId).toMatch(/^kek-[0-9a-f]{16}$/);
  const refusal = expect.objectContaining({
    code: 'KX_CONFIG_INVALID',
    why: expect.stringContaining('exists'),
  });
  expect(() => createNewKeyFile(path)).toThrow(refusal);
  expect(readFileSync(path, 'utf8')).toBe(made);
});

test('a key file that cannot be written is a typed error', () => {
  writeFileSync(join(directory, 'file'), '');
  expect(() => createNewKeyFile(join(directory, 'file', 'kek.json'))).toThrow(
    expect.objectContaining({ code: 'KX_CONFIG_INVALID' }),
  );
});

test('a missing file is an error where it may not be made', () => {
  expect(() => loadLocalKms({ path, create: false })).toThrow(
    expect.objectContaining({ code: 'KX_KEK_MISSING' }),
  );
});

test('a file that others can read is refused', () => {
  loadLocalKms({ path, create: true });
  chmodSync(path, 0o640);
  expect(() => loadLocalKms({ path, create: true })).toThrow(
    expect.objectContaining({ code: 'KX_KEK_MISSING' }),
  );
});

test.each(['', 'not json', '{"v":2,"active":"a","keks":{}}', '{"v":1,"active":"b","keks":{"a":"AAAA"}}'])(
  'a damaged file (%j) is refused without quoting it',
  (content) => {
    loadLocalKms({ path, create: true });
    writeFileSync(path, content);
    const load = () => loadLocalKms({ path, create: true });
    expect(load).toThrow(expect.objectContaining({ code: 'KX_KEK_MISSING' }));
    expect(readFileSync(path, 'utf8')).toBe(content);
  },
);

test('the default key file is beside the data directory, not in it', () => {
  expect(defaultKekFile('/state/backend')).toBe('/state/backend-keys/kek.json');
});
