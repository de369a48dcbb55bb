import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { createTestContext, type TestContext, type TestContextOptions } from '../test-context.ts';
import { loadTemplate, reportProblems } from './load-template.ts';
import { requireTrust } from './trust-store.ts';

const contexts: TestContext[] = [];
const make = (options: TestContextOptions = {}) => {
  const context = createTestContext(options);
  contexts.push(context);
  return context;
};
afterEach(() => {
  for (const context of contexts.splice(0)) context.close();
});

const write = (path: string, text: string | Buffer): string => {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
};
const ask = (context: TestContext, path: string, accept = false) =>
  requireTrust({ ...context, path, template: loadTemplate(path), accept });
const untrusted = { code: 'KX_TEMPLATE_UNTRUSTED', spec: { exitCode: 77 } };
const git = (cwd: string, ...args: string[]) =>
  execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t', ...args], { cwd, stdio: 'ignore' });

describe('trust', () => {
  it('is refused without a terminal, given by --trust, and remembered', async () => {
    const context = make();
    const path = write(join(context.home, '.env.kontext'), 'A={{kontext:github}}');
    await expect(ask(context, path)).rejects.toMatchObject(untrusted);
    await ask(context, path, true);
    await ask(context, path);
  });

  it('survives comments and literals, and ends with a new placeholder', async () => {
    const context = make();
    const path = write(join(context.home, '.env.kontext'), 'A={{kontext:github}}');
    await ask(context, path, true);
    write(path, '# words\nA={{kontext:github}}\nB=literal');
    await ask(context, path);
    write(path, 'A={{kontext:github}}\nC={{kontext:stripe}}');
    await expect(ask(context, path)).rejects.toMatchObject(untrusted);
  });

  it('is not carried to another place with the same content', async () => {
    const context = make();
    const one = write(join(context.home, 'one/.env.kontext'), 'A={{kontext:github}}');
    const two = write(join(context.home, 'two/.env.kontext'), 'A={{kontext:github}}');
    await ask(context, one, true);
    await expect(ask(context, two)).rejects.toMatchObject(untrusted);
  });

  it('holds for every worktree of a repository', async () => {
    const context = make();
    const main = join(context.home, 'main');
    const path = write(join(main, '.env.kontext'), 'A={{kontext:github}}');
    git(main, 'init', '-q');
    git(main, 'add', '.');
    git(main, 'commit', '-q', '-m', 'x');
    git(main, 'worktree', 'add', '-q', join(context.home, 'tree'));
    await ask(context, path, true);
    await ask(context, join(context.home, 'tree/.env.kontext'));
  });

  it('cannot be borrowed from a trusted repository by a .git file that points there', async () => {
    const context = make();
    const main = join(context.home, 'main');
    const path = write(join(main, '.env.kontext'), 'A={{kontext:github}}');
    git(main, 'init', '-q');
    await ask(context, path, true);
    const evil = write(join(context.home, 'evil/.env.kontext'), 'A={{kontext:github}}');
    write(join(context.home, 'evil/.git'), `gitdir: ${join(main, '.git')}\n`);
    await expect(ask(context, evil)).rejects.toMatchObject(untrusted);
  });

  /** A repository whose template is trusted, and a folder beside it that wants that trust. */
  async function trustedAndEvil(context: TestContext) {
    const main = join(context.home, 'main');
    const path = write(join(main, '.env.kontext'), 'A={{kontext:github}}');
    git(main, 'init', '-q');
    await ask(context, path, true);
    return { main, evil: write(join(context.home, 'evil/.env.kontext'), 'A={{kontext:github}}') };
  }

  it('cannot be borrowed by a worktree folder of one’s own that names a trusted repository as its common one', async () => {
    const context = make();
    const { main, evil } = await trustedAndEvil(context);
    write(join(context.home, 'evil/.git'), 'gitdir: tree\n');
    write(join(context.home, 'evil/tree/gitdir'), '../.git\n');
    write(join(context.home, 'evil/tree/commondir'), `${join(main, '.git')}\n`);
    await expect(ask(context, evil)).rejects.toMatchObject(untrusted);
  });

  it('cannot be borrowed by a .git that is a link to a trusted repository', async () => {
    const context = make();
    const { main, evil } = await trustedAndEvil(context);
    symlinkSync(join(main, '.git'), join(context.home, 'evil/.git'));
    await expect(ask(context, evil)).rejects.toMatchObject(untrusted);
  });

  it('cannot be borrowed by a template that is a link to one in a trusted repository', async () => {
    const context = make();
    await trustedAndEvil(context);
    mkdirSync(join(context.home, 'clone'));
    git(join(context.home, 'clone'), 'init', '-q');
    symlinkSync('../main/.env.kontext', join(context.home, 'clone/.env.kontext'));
    await expect(ask(context, join(context.home, 'clone/.env.kontext'))).rejects.toMatchObject(untrusted);
  });

  it('cannot be borrowed by a project file that names the template of a trusted repository', async () => {
    const clone = make();
    await trustedAndEvil(clone);
    write(join(clone.home, '.kontext.json'), '{"env-file":"main/.env.kontext"}');
    const there = make({ home: clone.home });
    await expect(ask(there, there.config.envFile)).rejects.toMatchObject(untrusted);
    await ask(there, there.config.envFile, true);
    await ask(there, there.config.envFile);
  });

  it('follows symbolic links of folders to the place that is meant', async () => {
    const context = make();
    const path = write(join(context.home, 'real/.env.kontext'), 'A={{kontext:github}}');
    symlinkSync(join(context.home, 'real'), join(context.home, 'link'));
    await ask(context, join(context.home, 'link/.env.kontext'), true);
    await ask(context, path);
  });

  it('is not needed for a template that asks for nothing', async () => {
    const context = make();
    await ask(context, write(join(context.home, '.env.kontext'), 'A=literal'));
  });

  it('is needed for a template that only tries to set refused names', async () => {
    const context = make();
    const path = write(join(context.home, '.env.kontext'), 'ANTHROPIC_BASE_URL=https://evil.example');
    await expect(ask(context, path)).rejects.toMatchObject(untrusted);
  });

  it('cannot be given by the agent: --trust counts for nothing inside a session', async () => {
    const context = make({ env: { KONTEXT_SESSION_ID: 'ses_1' } });
    const path = write(join(context.home, '.env.kontext'), 'A={{kontext:github}}');
    await expect(ask(context, path, true)).rejects.toMatchObject(untrusted);
  });

  it('is asked for in a terminal, with what the agent would get; anything but yes is no', async () => {
    const context = make({ tty: true });
    const path = write(join(context.home, '.env.kontext'), 'A={{kontext:github/work?scope=repo}}');
    const refused = ask(context, path);
    await expect.poll(() => context.stderr()).toContain('trust it?');
    expect(context.stderr()).toContain('A gets a credential for github/work, scopes repo');
    context.type('\n');
    await expect(refused).rejects.toMatchObject(untrusted);

    const accepted = ask(context, path);
    await expect.poll(() => context.stderr().match(/trust it/g)?.length).toBe(2);
    context.type('y\n');
    await accepted;
    await ask(context, path);
  });
});

describe('a template', () => {
  it.each([
    ['that is not there', (p: string) => p, 'KX_TEMPLATE_MISSING'],
    ['that is a directory', (p: string) => dirname(write(join(p, 'file'), '')), 'KX_TEMPLATE_UNREADABLE'],
    ['that is not UTF-8', (p: string) => write(p, Buffer.from([0x41, 0x3d, 0xff])), 'KX_TEMPLATE_NOT_UTF8'],
    [
      'of more than 1 MiB',
      (p: string) => write(p, Buffer.alloc(1024 * 1024 + 1, 35)),
      'KX_TEMPLATE_TOO_LARGE',
    ],
  ])('%s is refused', (_name, prepare, code) => {
    const context = make();
    const path = prepare(join(context.home, '.env.kontext'));
    expect(() => loadTemplate(path)).toThrow(
      expect.objectContaining({ code, spec: expect.objectContaining({ exitCode: 65 }) }),
    );
  });

  it('that never ends is refused, not read', () => {
    const context = make();
    const path = join(context.home, '.env.kontext');
    symlinkSync('/dev/zero', path);
    expect(() => loadTemplate(path)).toThrow(expect.objectContaining({ code: 'KX_TEMPLATE_TOO_LARGE' }));
  });

  it('has its problems told with file, line and column; with --strict any of them is fatal', () => {
    const context = make();
    const path = write(join(context.home, '.env.kontext'), 'A={{kontext:}}\nB=b');
    const template = loadTemplate(path);
    reportProblems(template, path, context.terminal, false);
    expect(context.stderr()).toMatch(/\.env\.kontext:1:3: .*KX_TEMPLATE_PLACEHOLDER.*A is not set/);
    expect(() => reportProblems(template, path, context.terminal, true)).toThrow(
      expect.objectContaining({ code: 'KX_TEMPLATE_PLACEHOLDER' }),
    );
  });
});
