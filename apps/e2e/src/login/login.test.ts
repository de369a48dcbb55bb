/** Logging in on a machine as most developers have it: a Secret Service holds the login, nothing else does. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { approveDevice, type Keyring, partState, runCommandOrThrow, startKeyring } from '@kontext/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTemplate } from '../puppet.ts';
import { startInTerminal } from '../running-command.ts';
import { findInFiles } from '../search.ts';
import { logIn, startWorld, type World } from '../world.ts';

const part = partState('keyring');
const hasScript = existsSync('/usr/bin/script');

describe.skipIf(!part.available)(`a login in the keyring ${part.reason}`, () => {
  let keyring: Keyring;
  let world: World;

  beforeAll(async () => {
    keyring = await startKeyring();
    world = await startWorld({ upstream: false, cliEnv: keyring.env });
  });
  afterAll(async () => {
    await world?.close();
    await keyring?.stop();
  });

  /** Reads the item as any program of the user could; puts `value` there first, when given. */
  async function readItem(value: string | null = null): Promise<string> {
    const script = `
      const { Entry } = require(${JSON.stringify(keyringLibrary())});
      const [url, value] = process.argv.slice(1);
      const entry = new Entry('kontext', url, { linux: { store: 'secret-service' } });
      if (value !== undefined) entry.setPassword(value);
      process.stdout.write(String(entry.getPassword()));`;
    const args = ['-e', script, world.apiUrl, ...(value === null ? [] : [value])];
    const env = { PATH: process.env.PATH ?? '', ...keyring.env };
    return (await runCommandOrThrow(process.execPath, args, { env })).stdout;
  }

  it('is not there before: the next command is named', async () => {
    const status = await world.cli(['status']);
    const run = await world.cli(['audit', 'verify']);

    expect(status.exitCode).toBe(77);
    expect(status.stdout).toContain('nobody is logged in');
    expect(status.stdout).toContain('run `kontext login`');
    expect(run.exitCode).toBe(77);
    expect(run.stderr).toContain('KX_NOT_LOGGED_IN');
    expect(run.stderr).toContain('run `kontext login`');
  });

  it('begins by the device flow: URL and code are shown, and the approval ends it', async () => {
    let shown = { uri: '', code: '' };

    const login = await logIn(world, [], (seen) => {
      shown = seen;
    });

    expect(login).toMatchObject({ exitCode: 0, stdout: '' });
    expect(shown.uri).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/activate\?user_code=/);
    expect(login.stderr).toContain(`enter the code ${shown.code}`);
    expect(login.stderr).toContain('logged in as owner');
    expect(login.stderr).toContain('Secret Service');
    expect(login.stderr).not.toContain('plain file');
  });

  it('lies in the keyring and in no file', async () => {
    const item = JSON.parse(await readItem());

    expect(item).toMatchObject({ v: 1, iss: `${world.apiUrl}/oauth` });
    expect(item.refreshToken.length).toBeGreaterThan(20);
    expect(findInFiles([world.home.root], [item.refreshToken, item.jwk.d])).toEqual([]);
  });

  it('is shown by status, for people and for programs', async () => {
    const text = await world.cli(['status']);
    const json = await world.cli(['status', '--json']);

    expect(text.exitCode).toBe(0);
    expect(text.stdout).toContain('owner');
    expect(json.exitCode).toBe(0);
    expect(JSON.parse(json.stdout)).toMatchObject({
      apiUrl: world.apiUrl,
      loggedIn: true,
      user: { name: 'owner' },
      role: 'owner',
      loginStore: 'the Secret Service keyring',
      backend: { reachable: true, clockSkewMs: 0 },
      policyKeyPinned: true,
      error: null,
    });
  });

  it('serves command after command without asking again, also after the backend was restarted', async () => {
    await world.backend.stop();
    await world.restartBackend();

    const first = await world.cli(['audit', 'verify', '--json']);
    const second = await world.cli(['audit', 'verify', '--json']);

    expect(first).toMatchObject({ exitCode: 0, stderr: expect.not.stringContaining('user_code') });
    expect(second.exitCode).toBe(0);
  });

  it('is revoked at the backend and wiped here by logout', async () => {
    const copied = await readItem();

    const logout = await world.cli(['logout']);

    expect(logout).toMatchObject({ exitCode: 0, stdout: '' });
    expect(logout.stderr).toContain('logged out owner');
    expect(logout.stderr).not.toContain('could not be revoked');
    expect(await readItem()).toBe('null');
    expect((await world.cli(['status'])).exitCode).toBe(77);
    // Somebody who had copied the login has nothing.
    await readItem(copied);
    const thief = await world.cli(['audit', 'verify']);
    expect(thief.exitCode).toBe(77);
    expect(thief.stderr).toContain('KX_LOGIN_REVOKED');
  });

  it('is wiped also while the backend is away, and that it could not be revoked is said', async () => {
    await world.backend.stop();

    const logout = await world.cli(['logout']);
    await world.restartBackend();

    expect(logout.exitCode).toBe(0);
    expect(logout.stderr).toContain('could not be revoked at the backend');
    expect(await readItem()).toBe('null');
  });

  it.skipIf(!hasScript)(
    'is begun in a terminal by the first command that needs it, which then goes on',
    async () => {
      writeTemplate(world, 'LOG_LEVEL=debug\n');
      const command = startInTerminal(world, ['run', '--', 'sh', '-c', 'echo "level $LOG_LEVEL"']);
      const { account, passcode } = world;

      const [verificationUriComplete] = await command.waitFor(/https?:\/\/\S+user_code=[A-Z-]+/);
      await approveDevice({ verificationUriComplete, account, passcode });
      const result = await command.ended;

      expect(result.exitCode).toBe(0);
      expect(result.stdout).toContain('logged in as owner');
      expect(result.stdout).toContain('level debug');
    },
  );
});

/** The library the command itself uses, found from where the command lies. */
const keyringLibrary = (): string =>
  createRequire(new URL('../../../cli/package.json', import.meta.url)).resolve('@napi-rs/keyring');
