/** No login is ever written to a plain file unless somebody asked for it, and then it is said each time. */
import { statSync } from 'node:fs';
import { absentKeyringEnv, partState, startKeyring } from '@kontext/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { logIn, startWorld, type World } from '../world.ts';
import { loginFiles } from './login-files.ts';

const part = partState('keyring');
let world: World;

beforeAll(async () => {
  world = await startWorld({ upstream: false, cliEnv: absentKeyringEnv() });
});
afterAll(() => world?.close());

describe('without a keyring', () => {
  it('login stops before anybody is asked to approve, and names the way out', async () => {
    const login = await world.cli(['login', '--no-browser']);

    expect(login.exitCode).toBe(78);
    expect(login.stderr).toContain('KX_KEYRING_UNAVAILABLE');
    expect(login.stderr).toContain('--insecure-storage');
    expect(login.stderr).not.toContain('enter the code');
    expect(loginFiles(world)).toEqual([]);
  });

  it('--insecure-storage keeps the login in a file of this user alone, and says so', async () => {
    const login = await logIn(world, ['--insecure-storage']);

    expect(login.exitCode).toBe(0);
    expect(login.stderr).toContain('warning: the login is kept in a plain file');
    expect(loginFiles(world).map((path) => statSync(path).mode & 0o777)).toEqual([0o600]);
  });

  it.each([['status'], ['connections ls'], ['audit verify'], ['logout']])(
    '%s uses that file without a flag, and says so each time',
    async (command) => {
      const result = await world.cli(command.split(' '));

      expect(result.exitCode).toBe(0);
      expect(result.stderr).toContain('warning: the login is kept in a plain file');
    },
  );

  it('after logout the file is gone, and the keyring is asked again', async () => {
    expect(loginFiles(world)).toEqual([]);
    expect((await world.cli(['login', '--no-browser'])).exitCode).toBe(78);
  });
});

describe.skipIf(!part.available)(`with a locked keyring ${part.reason}`, () => {
  it('login and every later command stop with the same typed error', async () => {
    const keyring = await startKeyring();
    const login = await logIn({ ...world, env: { ...world.env, ...keyring.env } });
    await keyring.lock();

    const again = await world.cli(['login', '--no-browser'], { env: keyring.env });
    const status = await world.cli(['status', '--json'], { env: keyring.env });
    await keyring.unlock();
    const unlocked = await world.cli(['status'], { env: keyring.env });
    await keyring.stop();

    expect(login.exitCode).toBe(0);
    expect(again.exitCode).toBe(78);
    expect(again.stderr).toMatch(/KX_KEYRING_LOCKED[\s\S]*next: unlock the keyring/);
    expect(status.exitCode).toBe(78);
    expect(JSON.parse(status.stdout).error.code).toBe('KX_KEYRING_LOCKED');
    expect(unlocked.exitCode).toBe(0);
    expect(loginFiles(world)).toEqual([]);
  });
});
