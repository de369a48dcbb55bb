/** Logins that a person, time or Ctrl-C ends: each has its own code, and nothing is left behind. */
import { existsSync } from 'node:fs';
import { approveDevice, partState } from '@kontext/testkit';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openDatabase, type StoryDatabase, sql } from '../databases.ts';
import { type RunningCommand, startCommand, startInTerminal } from '../running-command.ts';
import { startWorld, type World } from '../world.ts';
import { loginFiles } from './login-files.ts';

const part = partState('postgres');
const hasScript = existsSync('/usr/bin/script');

describe.skipIf(!part.available)(`a login that is not approved ${part.reason}`, () => {
  let database: StoryDatabase;
  let world: World;

  beforeAll(async () => {
    database = await openDatabase('Postgres');
    world = await startWorld({
      upstream: false,
      ...(database.url === undefined ? {} : { databaseUrl: database.url }),
    });
  });
  afterAll(async () => {
    await world?.close();
    await database?.close();
  });
  afterEach(() => {
    expect(loginFiles(world)).toEqual([]);
  });

  const login = ['login', '--no-browser', '--insecure-storage'];

  /** Waits until the command shows its link. */
  async function shownLink(command: RunningCommand): Promise<string> {
    return (await command.waitFor(/https?:\/\/\S+user_code=[A-Z-]+/))[0];
  }

  it('says that it was denied', async () => {
    const command = startCommand(world, login);
    const { account, passcode } = world;

    const verificationUriComplete = await shownLink(command);
    await approveDevice({ verificationUriComplete, account, passcode, decision: 'deny' });
    const result = await command.ended;

    expect(result.exitCode).toBe(77);
    expect(result.stderr).toContain('KX_LOGIN_DENIED');
    expect(result.stderr).toContain('next: run `kontext login` again');
  });

  it('says that its code has expired', async () => {
    const command = startCommand(world, login);

    await shownLink(command);
    await expireDeviceCodes(database.url ?? '');
    const result = await command.ended;

    expect(result.exitCode).toBe(77);
    expect(result.stderr).toContain('KX_DEVICE_CODE_EXPIRED');
    expect(result.stderr).toContain('next: run `kontext login` again');
  });

  it('cannot be approved any more once its code has expired', async () => {
    const command = startCommand(world, login);
    const { account, passcode } = world;

    const verificationUriComplete = await shownLink(command);
    await expireDeviceCodes(database.url ?? '');

    await expect(approveDevice({ verificationUriComplete, account, passcode })).rejects.toThrow();
    expect((await command.ended).exitCode).toBe(77);
  });

  it('waits on while the backend restarts, and is then approved or not as usual', async () => {
    const command = startCommand(world, login);
    const { account, passcode } = world;
    const verificationUriComplete = await shownLink(command);

    await world.backend.stop();
    await world.restartBackend();
    await approveDevice({ verificationUriComplete, account, passcode, decision: 'deny' });

    expect((await command.ended).stderr).toContain('KX_LOGIN_DENIED');
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('ends at once on %s, without words', async (signal, exitCode) => {
    const command = startCommand(world, login);

    await shownLink(command);
    command.kill(signal);
    const result = await command.ended;

    expect(result.exitCode).toBe(exitCode);
    expect(result.stderr).not.toContain('error');
  });

  it.skipIf(!hasScript)('counts down in a terminal and ends with 130 on Ctrl-C', async () => {
    const command = startInTerminal(world, login);

    await command.waitFor(/waiting for approval, \d+:\d\d left/);
    command.type('\u0003');
    const result = await command.ended;

    expect(result.exitCode).toBe(130);
    expect(result.stdout).not.toContain('error');
  });
});

/** Ten minutes pass for the database; the payload of the authorization server carries the same instant once more. */
async function expireDeviceCodes(url: string): Promise<void> {
  await sql(
    url,
    `UPDATE oidc_payloads SET expires_at = now() - interval '1 second',
       payload = jsonb_set(payload::jsonb, '{exp}', to_jsonb(extract(epoch from now())::bigint - 1))::text
     WHERE model = 'DeviceCode'`,
  );
}
