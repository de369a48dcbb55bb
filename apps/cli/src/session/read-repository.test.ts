import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readRepository } from './read-repository.ts';

describe('the repository of a session', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'kontext-repository-'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const made = (name: string, config: string): string => {
    const top = join(directory, name);
    mkdirSync(join(top, '.git'), { recursive: true });
    writeFileSync(join(top, '.git', 'HEAD'), 'ref: refs/heads/main\n');
    writeFileSync(join(top, '.git', 'config'), config);
    return top;
  };

  it('is the one that git itself has written down, also below its top', () => {
    const top = join(directory, 'real');
    const git = (...args: string[]) => execFileSync('git', args, { cwd: directory, stdio: 'pipe' });
    git('init', '-q', top);
    git('-C', top, 'remote', 'add', 'fork', 'https://github.com/bob/shop');
    git('-C', top, 'remote', 'add', 'origin', 'https://user:token@github.com/acme/shop.git');
    mkdirSync(join(top, 'src'));
    expect(readRepository(join(top, 'src'))).toBe('github.com/acme/shop');
  });

  it.each([
    ['quoted', '[remote "origin"]\n\turl = "git@github.com:acme/shop.git" ; ours\n', 'github.com/acme/shop'],
    ['comment', '[remote "a"] url = https://host.test/x#y\n', 'host.test/x'],
    ['other-section', '[remote "a"]\n[branch "b"]\nurl = https://host.test/x\n', ''],
    ['local', '[remote "origin"]\nurl = /srv/shop.git\n', ''],
    ['none', '[core]\n\tbare = false\n', ''],
    ['binary', '\0\ufffd[remote "\n', ''],
    [
      'long',
      `[remote "origin"]\nurl = https://host.test/${'a'.repeat(500)}\n`,
      `host.test/${'a'.repeat(245)}`,
    ],
  ])('is read from a configuration (%s)', (name, config, wanted) => {
    expect(readRepository(made(name, config))).toBe(wanted);
  });

  it('is empty outside of any, and where the configuration is no file', () => {
    expect(readRepository(directory)).toBe('');
    const top = made('pipe', '');
    rmSync(join(top, '.git', 'config'));
    execFileSync('mkfifo', [join(top, '.git', 'config')]);
    expect(readRepository(top)).toBe('');
  });
});
