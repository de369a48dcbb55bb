import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findGit } from './find-git.ts';
import { findGitDirectory } from './git-directory.ts';
import { createGitFacts } from './git-facts.ts';

const git = findGit('/nonexistent-project', process.env.PATH) ?? '';
const identity = { GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1', HOME: '/nonexistent' };

describe.skipIf(git === '')('facts of a repository', () => {
  let root: string;
  beforeEach(() => {
    root = realpathSync(mkdtempSync(join(tmpdir(), 'kontext-git-')));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const run = (cwd: string, ...args: string[]) => {
    const author = ['-c', 'user.name=a', '-c', 'user.email=a@example.com'];
    execFileSync(git, [...author, ...args], {
      cwd,
      env: { PATH: '/usr/bin:/bin', ...identity },
      stdio: 'ignore',
    });
  };
  const makeRepository = (remote?: string): string => {
    const folder = join(root, 'shop');
    mkdirSync(folder);
    run(folder, 'init', '-b', 'main');
    if (remote !== undefined) run(folder, 'remote', 'add', 'origin', remote);
    return folder;
  };
  const facts = (options: Partial<Parameters<typeof createGitFacts>[0]> = {}) =>
    createGitFacts({ git, ...options });

  it('are the name of its remote without credentials, and its branch', async () => {
    const folder = makeRepository('https://dev:ghp_secret@GitHub.com:443/acme/shop.git?x=1');
    mkdirSync(join(folder, 'src'));
    expect(await facts().repositoryOf(join(folder, 'src'))).toEqual({
      name: 'github.com/acme/shop',
      branch: 'main',
    });
  });

  it('are the name of its directory where no remote says more', async () => {
    expect(await facts().repositoryOf(makeRepository())).toEqual({ name: 'shop', branch: 'main' });
  });

  it('are nothing outside of any repository, nor without git', async () => {
    expect(await facts().repositoryOf(root)).toBeNull();
    expect(await facts({ git: null }).repositoryOf(makeRepository())).toBeNull();
  });

  it('follow a checkout of the call before', async () => {
    const folder = makeRepository('git@github.com:acme/shop.git');
    const told = facts();
    expect(await told.repositoryOf(folder)).toMatchObject({ branch: 'main' });
    run(folder, 'checkout', '-b', 'feature/x');
    expect(await told.repositoryOf(folder)).toEqual({ name: 'github.com/acme/shop', branch: 'feature/x' });
    run(folder, 'remote', 'set-url', 'origin', 'ssh://git@other.test:2222/a/b');
    expect(await told.repositoryOf(folder)).toMatchObject({ name: 'other.test/a/b' });
    run(folder, 'commit', '--allow-empty', '-m', 'x');
    run(folder, 'checkout', '--detach');
    expect(await told.repositoryOf(folder)).toMatchObject({ branch: '' });
  });

  it('are those of a worktree in a worktree', async () => {
    const folder = makeRepository('git@github.com:acme/shop.git');
    run(folder, 'commit', '--allow-empty', '-m', 'x');
    run(folder, 'worktree', 'add', '-b', 'side', join(root, 'side'));
    expect(await facts().repositoryOf(join(root, 'side'))).toEqual({
      name: 'github.com/acme/shop',
      branch: 'side',
    });
  });

  it('run nothing a repository names, and listen to nothing around', async () => {
    const folder = makeRepository('https://github.com/acme/shop');
    const ran = join(root, 'ran');
    const evil = join(root, 'evil.sh');
    writeFileSync(evil, `#!/bin/sh\ntouch '${ran}'\n`);
    chmodSync(evil, 0o755);
    for (const key of [
      'core.fsmonitor',
      'core.pager',
      'core.sshCommand',
      'core.editor',
      'credential.helper',
    ]) {
      run(folder, 'config', key, evil);
    }
    run(folder, 'config', 'core.hooksPath', root);
    const before = { ...process.env };
    Object.assign(process.env, {
      GIT_DIR: root,
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: 'x',
      GIT_TRACE: ran,
    });
    try {
      expect(await facts().repositoryOf(folder)).toMatchObject({ name: 'github.com/acme/shop' });
    } finally {
      process.env = before;
    }
    expect(existsSync(ran)).toBe(false);
  });

  it('are bounded and clear of control characters, whatever the repository says', async () => {
    const folder = makeRepository('https://github.com/acme/shop');
    writeFileSync(join(folder, '.git/HEAD'), `ref: refs/heads/${'b'.repeat(4000)}\n`);
    const config = `[remote "origin"]\n\turl = "https://u:p@h.test/a\\tb\u001b[31m\u202e/${'n'.repeat(3000)}"\n`;
    writeFileSync(join(folder, '.git/config'), config);
    const told = await facts().repositoryOf(folder);
    expect(told?.name.length).toBeLessThanOrEqual(256);
    expect(told?.branch.length ?? 0).toBeLessThanOrEqual(256);
    expect(told?.name).toMatch(/^h\.test\/a\ufffdb\ufffd\[31m\ufffd\/n+$/);
  });

  it('are nothing for a repository that says a megabyte, or nothing git understands', async () => {
    const folder = makeRepository();
    writeFileSync(
      join(folder, '.git/config'),
      `[remote "${'x'.repeat(1_048_576)}"]\n\turl = "${'y'.repeat(200_000)}"\n`,
    );
    expect(await facts().repositoryOf(folder)).toBeNull();
    writeFileSync(join(folder, '.git/config'), '[[[');
    expect(await facts().repositoryOf(folder)).toBeNull();
  });

  it('are nothing when git hangs, and the call does not wait for it', async () => {
    const slow = join(root, 'git');
    writeFileSync(slow, '#!/bin/sh\nexec sleep 600\n');
    chmodSync(slow, 0o755);
    const folder = makeRepository();
    expect(await facts({ git: slow, waitMs: 20, timeoutMs: 300 }).repositoryOf(folder)).toBeNull();
    expect(await facts({ git: slow, waitMs: 60_000, timeoutMs: 50 }).repositoryOf(folder)).toBeNull();
  });

  it('are not waited for in a pipe that stands for a file', async () => {
    const folder = join(root, 'pipes');
    mkdirSync(join(folder, '.git'), { recursive: true });
    writeFileSync(join(folder, '.git/HEAD'), 'ref: refs/heads/main\n');
    execFileSync('mkfifo', [join(folder, '.git/commondir'), join(root, '.git')]);
    expect(findGitDirectory(folder)).toMatchObject({ top: folder, commonDir: join(folder, '.git') });
    expect(findGitDirectory(root)).toBeNull();
  });
});

describe('the git that is trusted', () => {
  let root: string;
  beforeEach(() => {
    root = realpathSync(mkdtempSync(join(tmpdir(), 'kontext-find-git-')));
    mkdirSync(join(root, 'project/bin'), { recursive: true });
    mkdirSync(join(root, 'elsewhere'));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));
  const place = (path: string, mode = 0o755): string => {
    writeFileSync(join(root, path), '#!/bin/sh\n');
    chmodSync(join(root, path), mode);
    return join(root, path);
  };

  it.skipIf(git === '')('is that of the system, whatever stands on the search path', () => {
    place('project/bin/git');
    const found = findGit(join(root, 'project'), `${join(root, 'project/bin')}:bin:${process.env.PATH}`);
    expect(found).toBe(git);
    expect(found?.startsWith(root)).toBe(false);
  });

  it('is never one in the project, one a link leads into it, or one that others may write', () => {
    place('project/bin/git');
    symlinkSync(join(root, 'project/bin/git'), join(root, 'elsewhere/git'));
    const path = [join(root, 'project/bin'), join(root, 'elsewhere')].join(':');
    const none = { places: [] };
    expect(findGit(join(root, 'project'), path, none.places)).toBeNull();
    rmSync(join(root, 'elsewhere/git'));
    const theirs = place('elsewhere/git', 0o777);
    expect(findGit(join(root, 'project'), path, none.places)).toBeNull();
    chmodSync(theirs, 0o755);
    expect(findGit(join(root, 'project'), path, none.places)).toBe(theirs);
  });
});
