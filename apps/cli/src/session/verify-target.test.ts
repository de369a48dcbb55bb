import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createId } from '@kontext/audit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { chooseTarget } from './verify-target.ts';

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'kontext-target-'));
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

const sessionId = createId('ses');

it('is everything without a name', () => {
  expect(chooseTarget('', cwd)).toBe('everything');
});

it('is a file by any name that is not like that of a session, so that one that is not there is missed as a file', () => {
  for (const what of ['a.jsonl', 'evt_1', './ses_1', '/tmp/ses_1', `audit/${sessionId}`])
    expect(chooseTarget(what, cwd)).toBe('file');
});

it('is the file that is there, though its name begins like that of a session', () => {
  mkdirSync(join(cwd, 'ses_dir'));
  for (const what of [
    `${sessionId}.jsonl`,
    'ses_',
    'ses_dir/a.jsonl',
    sessionId.toUpperCase().replace('SES', 'ses'),
  ]) {
    expect(chooseTarget(what, cwd)).toBe('session');
    writeFileSync(join(cwd, what), '');
    expect(chooseTarget(what, cwd)).toBe('file');
  }
});

it('is the session by its whole id, also where a file has that name, which a path tells from it', () => {
  writeFileSync(join(cwd, sessionId), '');

  expect(chooseTarget(sessionId, cwd)).toBe('session');
  expect(chooseTarget(`./${sessionId}`, cwd)).toBe('file');
});
