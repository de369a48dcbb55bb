import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { claude } from '../agents/claude.ts';
import { createSessionFacts } from './session-facts.ts';

describe('the facts of a session', () => {
  let root: string;
  beforeEach(() => {
    root = realpathSync(mkdtempSync(join(tmpdir(), 'kontext-facts-')));
    mkdirSync(join(root, 'shop/src/deep'), { recursive: true });
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const makeRepository = (path: string): void => {
    mkdirSync(join(root, path, '.git'));
    writeFileSync(join(root, path, '.git/HEAD'), 'ref: refs/heads/main\n');
  };
  const factsIn = (path: string, environment: Readonly<Record<string, string>> = { HOME: '/home/dev' }) =>
    createSessionFacts({
      ...{ adapter: claude, command: join(root, 'none'), cwd: join(root, path) },
      ...{ stateDir: join(root, 'state'), environment },
    });

  it('take the top of the repository for the project, links followed, else the directory', () => {
    expect(factsIn('shop/src').projectRoot).toBe(join(root, 'shop/src'));
    makeRepository('shop');
    symlinkSync('shop', join(root, 'link'));
    expect([factsIn('shop/src/deep').projectRoot, factsIn('link/src').projectRoot]).toEqual([
      join(root, 'shop'),
      join(root, 'shop'),
    ]);
  });

  it('keep the project what it was at the start, whatever becomes a repository later', () => {
    const facts = factsIn('shop/src');
    makeRepository('shop');
    expect(facts.projectRoot).toBe(join(root, 'shop/src'));
  });

  it('name each provider once, sorted, from when the session holds its credentials', () => {
    const facts = factsIn('shop');
    expect(facts.credentials()).toEqual([]);
    facts.holds(['stripe', 'github', 'stripe']);
    expect(facts.credentials()).toEqual(['github', 'stripe']);
  });

  it('know the home of the user, and no version of an agent that is not there', () => {
    expect([factsIn('shop').home, factsIn('shop', { HOME: 'relative' }).home]).toEqual(['/home/dev', null]);
    expect(factsIn('shop').agentVersion()).toBe('');
  });
});
