import { afterEach, describe, expect, it } from 'vitest';
import { partState } from '../part-state.ts';
import { runCommand } from '../run-command.ts';
import { absentKeyringEnv, type Keyring, startKeyring } from './keyring.ts';

const part = partState('keyring');

/** Runs in a child: a process keeps the bus address it started with. */
const client = `
  const { createRequire } = require('node:module');
  const { AsyncEntry } = createRequire(process.argv[1])('@napi-rs/keyring');
  const entry = new AsyncEntry('kontext-testkit', 'http://127.0.0.1:1', { linux: { store: 'secret-service' } });
  const [, , action, value] = process.argv;
  const work = action === 'set' ? entry.setPassword(value) : entry.getPassword();
  work.then((read) => process.stdout.write(String(read)), (error) => {
    process.stderr.write(error.message);
    process.exitCode = 1;
  });
`;

describe.skipIf(!part.available)(`startKeyring ${part.reason}`, () => {
  let keyring: Keyring | null = null;
  afterEach(async () => {
    await keyring?.stop();
    keyring = null;
  });

  function askKeyring(env: Readonly<Record<string, string>>, action: 'get' | 'set', value = '') {
    return runCommand(process.execPath, ['-e', client, import.meta.filename, action, value], { env });
  }

  it('keeps a secret from one process to the next', async () => {
    keyring = await startKeyring();

    await askKeyring(keyring.env, 'set', 'kept');

    expect(await askKeyring(keyring.env, 'get')).toMatchObject({ exitCode: 0, stdout: 'kept' });
  });

  it('refuses to write while it is locked and gives the secret back after it is unlocked', async () => {
    keyring = await startKeyring();
    await askKeyring(keyring.env, 'set', 'kept');

    await keyring.lock();
    const locked = await askKeyring(keyring.env, 'set', 'other');
    await keyring.unlock();

    expect(locked.exitCode).toBe(1);
    expect(locked.stderr).toContain('Secret Service');
    expect((await askKeyring(keyring.env, 'get')).stdout).toBe('kept');
  });

  it('does not share secrets between two keyrings', async () => {
    keyring = await startKeyring();
    const other = await startKeyring();
    await askKeyring(keyring.env, 'set', 'kept');

    const read = await askKeyring(other.env, 'get');
    await other.stop();

    expect(read.stdout).toBe('null');
  });

  it('can also be absent altogether', async () => {
    const written = await askKeyring({ PATH: process.env.PATH ?? '', ...absentKeyringEnv() }, 'set', 'lost');

    expect(written.exitCode).toBe(1);
  });
});
