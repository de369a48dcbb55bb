/**
 * Env templates that cannot be used, and what they ask for and cannot get.
 *
 * Shown elsewhere: every syntax problem with its place, all limits (`packages/env-template`), trust across worktrees
 * and changes (`apps/cli/src/session/trust-store.test.ts`).
 */
import { chmodSync, existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { walkPages } from '@kontext/testkit';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { addUpstream, followConnect } from '../demo/steps.ts';
import { writeTemplate } from '../puppet.ts';
import { runConfirmed } from '../run-confirmed.ts';
import { startInTerminal } from '../running-command.ts';
import { logIn, startWorld, type World } from '../world.ts';

let world: World;
const hasScript = existsSync('/usr/bin/script');
const key = 'key-that-lives-long-1234567890';

beforeAll(async () => {
  world = await startWorld();
  expect((await logIn(world, ['--insecure-storage'])).exitCode).toBe(0);
  await addUpstream(world);
  expect((await runConfirmed(world, ['secrets', 'put', 'stripe'], { stdin: key })).exitCode).toBe(0);
});
afterAll(() => world?.close());
afterEach(() => rmSync(template(), { recursive: true, force: true }));

const template = () => join(world.home.workDir, '.env.kontext');
/** Runs a command that shows what it got. */
const show = (...names: string[]) => [
  '--',
  'sh',
  '-c',
  names.map((name) => `echo "${name}=$${name}"`).join('; '),
];
const run = (words: readonly string[], flags: readonly string[] = ['--trust']) =>
  world.cli(['run', ...flags, ...words]);

describe('a template', () => {
  it('that is missing is exit 65 and a way to get one', async () => {
    const result = await run(show('A'));

    expect(result).toMatchObject({ exitCode: 65, stdout: '' });
    expect(result.stderr).toMatch(
      /there is no .*\.env\.kontext[\s\S]*KX_TEMPLATE_MISSING[\s\S]*next: create .env.kontext/,
    );
  });

  it('that is not UTF-8 is exit 65 and says so', async () => {
    writeTemplate(world, Buffer.from('A=caf\xe9\n', 'latin1'));

    const result = await run(show('A'));

    expect(result).toMatchObject({ exitCode: 65, stdout: '' });
    expect(result.stderr).toMatch(/KX_TEMPLATE_NOT_UTF8[\s\S]*next: save the file as UTF-8/);
  });

  it('that is a directory is exit 65 and says so', async () => {
    mkdirSync(template());

    const result = await run(show('A'));

    expect(result.exitCode).toBe(65);
    expect(result.stderr).toMatch(/it is a directory \(KX_TEMPLATE_UNREADABLE\)[\s\S]*next: check the file/);
  });

  it('that the system refuses to open is exit 65 and says why', async () => {
    // A link to itself: unlike a mode, that stops root too.
    symlinkSync('.env.kontext', template());

    const result = await run(show('A'));

    expect(result.exitCode).toBe(65);
    expect(result.stderr).toMatch(/the system answered ELOOP \(KX_TEMPLATE_UNREADABLE\)/);
  });

  it.skipIf(process.getuid?.() === 0)('that may not be read is exit 65 and says so', async () => {
    chmodSync(writeTemplate(world, 'A=1\n'), 0o000);

    const result = await run(show('A'));

    expect(result.exitCode).toBe(65);
    expect(result.stderr).toMatch(/EACCES \(KX_TEMPLATE_UNREADABLE\)/);
  });

  it('with a malformed line names file, line and column, and its neighbours still resolve', async () => {
    const path = writeTemplate(world, 'A=1\nB={{kontext:}}\nC={{kontext:stripe}}\nLD_PRELOAD=evil.so\n');

    const result = await run(show('A', 'B', 'C', 'LD_PRELOAD'));

    expect(result.exitCode).toBe(0);
    expect(result.stdout).toBe(`A=1\nB=\nC=${key}\nLD_PRELOAD=\n`);
    expect(result.stderr).toMatch(new RegExp(`${path}:2:\\d+: .*KX_TEMPLATE_PLACEHOLDER.*; B is not set`));
    expect(result.stderr).toMatch(
      new RegExp(`${path}:4:\\d+: .*KX_TEMPLATE_REFUSED_NAME.*; LD_PRELOAD is not set`),
    );
  });

  it('with a malformed line is exit 65 with --strict, before anything runs', async () => {
    writeTemplate(world, 'A=1\nB={{kontext:}}\n');

    const result = await run(show('A'), ['--trust', '--strict']);

    expect(result).toMatchObject({ exitCode: 65, stdout: '' });
    expect(result.stderr).toMatch(/--strict accepts none[\s\S]*line 2/);
  });

  it('that nobody has trusted is exit 77 without a terminal, and runs once it is trusted', async () => {
    writeTemplate(world, 'FRESH={{kontext:stripe/default}}\n');

    const before = await run(show('FRESH'), []);
    const trust = await world.cli(['trust']);
    const after = await run(show('FRESH'), []);

    expect(before).toMatchObject({ exitCode: 77, stdout: '' });
    expect(before.stderr).toMatch(/KX_TEMPLATE_UNTRUSTED[\s\S]*`kontext trust`/);
    expect(trust.exitCode).toBe(0);
    expect(after).toMatchObject({ exitCode: 0, stdout: `FRESH=${key}\n` });
  });
});

describe('a placeholder', () => {
  it('for an unknown provider among good ones is named; with --allow-missing the good ones are there', async () => {
    writeTemplate(world, 'GOOD={{kontext:stripe}}\nBAD={{kontext:strype}}\n');

    const refused = await run(show('GOOD', 'BAD'));
    const allowed = await run(show('GOOD', 'BAD'), ['--trust', '--allow-missing']);

    expect(refused).toMatchObject({ exitCode: 77, stdout: '' });
    expect(refused.stderr).toMatch(/strype \(line 2\): .*KX_PROVIDER_UNKNOWN/);
    expect(refused.stderr).toContain('next: ');
    expect(allowed).toMatchObject({ exitCode: 0, stdout: `GOOD=${key}\nBAD=\n` });
  });

  it('for a provider that is not connected is exit 77 with its link, without a terminal', async () => {
    writeTemplate(world, 'DEMO={{kontext:demo}}\nOTHER={{kontext:strype}}\n');

    const result = await run(show('DEMO'));

    expect(result).toMatchObject({ exitCode: 77, stdout: '' });
    expect(result.stderr).toMatch(/demo \(line 1\): .*KX_CONNECTION_MISSING\); http:\/\/\S+\/connect\/\S+/);
    expect(result.stderr).toMatch(/strype \(line 2\)/);
    expect(result.stderr).toContain('next: follow the links above, or pass --allow-missing');
  });

  it('does not leave a long-lived key of the shell in the place of the credential it could not get', async () => {
    writeTemplate(world, 'DEMO={{kontext:demo}}\n');

    const result = await world.cli(['run', '--trust', '--allow-missing', ...show('DEMO')], {
      env: { DEMO: 'from-the-shell' },
    });

    expect(result).toMatchObject({ exitCode: 0, stdout: 'DEMO=\n' });
  });

  it.skipIf(!hasScript)(
    'for a provider that is not connected may be skipped by s in a terminal',
    async () => {
      writeTemplate(world, 'GOOD={{kontext:stripe}}\nDEMO={{kontext:demo}}\n');
      const command = startInTerminal(world, ['run', '--trust', ...show('GOOD', 'DEMO')]);

      await command.waitFor(/Enter: connect demo, s: go on without it/);
      command.type('s\r');
      const result = await command.ended;

      expect(result.exitCode).toBe(0);
      expect(result.stdout).toContain(`GOOD=${key}\r\nDEMO=\r\n`);
    },
  );

  it.skipIf(!hasScript)(
    'for a provider that is not connected ends with 130 on Ctrl-C at the question',
    async () => {
      writeTemplate(world, 'DEMO={{kontext:demo}}\n');
      const command = startInTerminal(world, ['run', '--trust', ...show('DEMO')]);

      await command.waitFor(/s: go on without it/);
      command.type('\u0003');

      expect((await command.ended).exitCode).toBe(130);
    },
  );

  it.skipIf(!hasScript)(
    'for a provider that is not connected is connected on Enter in a terminal, and goes on',
    async () => {
      writeTemplate(world, 'DEMO={{kontext:demo}}\n');
      const command = startInTerminal(world, [
        'run',
        '--trust',
        '--',
        'sh',
        '-c',
        'echo length $(printf %s "$DEMO" | wc -c)',
      ]);
      const { account, passcode } = world;

      await command.waitFor(/Enter: connect demo/);
      command.type('\r');
      const [, link = ''] = await command.waitFor(/open this link to connect demo: (\S+)/);
      await walkPages(link, { fields: { account, passcode } });
      const result = await command.ended;

      expect(result.exitCode).toBe(0);
      expect(result.stdout).toContain('demo is connected');
      expect(result.stdout).toMatch(/length [1-9]\d+/);
    },
  );
});

describe('an unreachable provider', () => {
  it('is exit 75 when nothing else is wrong, and works again afterwards', async () => {
    writeTemplate(world, 'DEMO={{kontext:demo}}\n');
    await world.upstream?.setSettings({ accessTokenTtlSeconds: 1 });
    await followConnect(world);
    await world.upstream?.setFault('500', { count: 1 });

    const failing = await run(['--', 'true']);
    await world.upstream?.setFault('none');
    await world.upstream?.setSettings({ accessTokenTtlSeconds: 300 });

    expect(failing.exitCode).toBe(75);
    expect(failing.stderr).toMatch(/KX_PROVIDER_UNREACHABLE[\s\S]*try again/);
    await expect
      .poll(() => run(['--', 'true']).then(({ exitCode }) => exitCode), { timeout: 30_000 })
      .toBe(0);
  });
});
