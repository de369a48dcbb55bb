import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { findFreePort, startPostgresCluster } from '@kontext/testkit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Config, loadConfig } from '../config.ts';
import { readKeyFile } from '../kms/key-file.ts';
import { type KeyServiceStandIn, startVaultStandIn, vaultToken } from '../kms/test-key-services.ts';
import { createLogger } from '../log.ts';
import { createOrganisationCommand, migrate } from './administer.ts';
import { createKeys, formatKeys, keysStatus, rotateKeys } from './keys.ts';
import { createProgram } from './program.ts';
import { serve } from './serve.ts';

const logger = createLogger('silent');
const active = { to: null, prepare: false };
const start = (config: Config) => serve(config, logger, () => undefined);

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kontext-keys-'));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true, force: true });
});

describe('keys with the embedded database', () => {
  it('rotate while a backend has it open; status then tells what the key file tells', {
    timeout: 180_000,
  }, async () => {
    const listen = `127.0.0.1:${await findFreePort()}`;
    const config = loadConfig({ KONTEXT_DATA_DIR: join(directory, 'data'), KONTEXT_LISTEN: listen });
    const backend = await start(config);
    const path = join(directory, 'data-keys', 'kek.json');
    const { active: old } = readKeyFile(path);

    const lines = await rotateKeys(config, active);
    const during = await keysStatus(config);
    await expect(rotateKeys(config, { to: old, prepare: false })).rejects.toMatchObject({
      code: 'KX_STORE_LOCKED',
    });
    await backend.close();
    const after = await keysStatus(config);

    const { active: fresh } = readKeyFile(path);
    expect(fresh).not.toBe(old);
    expect(lines[0]).toBe(`${fresh} is the active key`);
    expect(lines[1]).toContain(`back up ${path} now`);
    expect(during.complete).toBe(false);
    expect(during.keys.find(({ id }) => id === fresh)).toMatchObject({ state: 'active', uses: null });
    expect(formatKeys(during, new Date()).at(-1)).toContain('a running backend has the database');
    // It saw the rotation when it stopped, at the latest.
    expect(after.keys.map(({ id, state }) => [id, state])).toEqual([
      [fresh, 'active'],
      [old, 'retiring'],
    ]);
    expect(after.keys.find(({ id }) => id === old)?.secrets).toBeGreaterThan(0);
  });
});

describe('keys with Postgres', () => {
  let cluster: Awaited<ReturnType<typeof startPostgresCluster>>;
  let base: Record<string, string>;
  let config: Config;
  let vault: KeyServiceStandIn;
  beforeAll(async () => {
    cluster = await startPostgresCluster();
  });
  afterAll(() => cluster.stop());
  beforeEach(async () => {
    base = {
      DATABASE_URL: (await cluster.createDatabase()).url,
      KONTEXT_KEK_FILE: join(directory, 'kek.json'),
      KONTEXT_PUBLIC_URL: 'https://kontext.example.com',
      KONTEXT_LISTEN: `127.0.0.1:${await findFreePort()}`,
    };
    config = loadConfig(base);
    createKeys(config);
    await migrate(config);
    await createOrganisationCommand(config, 'acme', 'alice@acme.test');
    vault = await startVaultStandIn(['one', 'two']);
    writeFileSync(join(directory, 'token'), vaultToken);
  });
  afterEach(() => vault.close());

  const withVault = (keys: string) =>
    loadConfig({
      ...base,
      KONTEXT_KMS_KEYS: keys,
      KONTEXT_VAULT_ADDR: vault.url,
      KONTEXT_VAULT_TOKEN_FILE: join(directory, 'token'),
    });
  const allUnder = async (of: Config, id: string): Promise<void> => {
    for (;;) {
      const { keys } = await keysStatus(of);
      if (keys.every((key) => key.id === id || key.secrets === 0)) return;
      await delay(100);
    }
  };

  it('move all secrets under the new key while a backend runs', { timeout: 180_000 }, async () => {
    const backend = await start(config);
    const [line] = await rotateKeys(config, active);
    const { active: fresh } = readKeyFile(join(directory, 'kek.json'));

    await allUnder(config, fresh);
    await backend.close();

    expect(line).toBe(`${fresh} is the active key`);
    const { keys } = await keysStatus(config);
    expect(keys[0]).toMatchObject({
      id: fresh,
      state: 'active',
      provider: 'local',
      readable: true,
      due: false,
    });
    expect(keys[0]?.uses).toBeGreaterThanOrEqual(keys[0]?.secrets ?? 0);
    expect(keys[1]).toMatchObject({ state: 'retiring', secrets: 0 });
  });

  it('move from the key file to a key service and on to its next key', { timeout: 180_000 }, async () => {
    const both = withVault('vault:transit/one');
    const backend = await start(both);
    expect((await keysStatus(both)).keys[0]).toMatchObject({ provider: 'local', state: 'active' });
    expect(await rotateKeys(both, active)).toContain('vault:transit/one is the active key');
    await allUnder(both, 'vault:transit/one');
    await backend.close();

    const further = withVault('vault:transit/one,vault:transit/two');
    const next = await start(further);
    await expect(rotateKeys(further, { to: 'vault:transit/none', prepare: false })).rejects.toMatchObject({
      code: 'KX_KEK_MISSING',
    });
    await rotateKeys(further, { to: 'vault:transit/two', prepare: false });
    await allUnder(further, 'vault:transit/two');
    await next.close();
    await expect(rotateKeys(further, active)).rejects.toMatchObject({
      code: 'KX_CONFIG_INVALID',
      why: 'every configured key was used before',
    });
    await expect(start(config)).rejects.toMatchObject({ code: 'KX_KEK_MISSING' });
    await (await start({ ...further, kekFile: null })).close();
  });

  it('leave the active key when the new one does not bind its context, or is not there', async () => {
    const both = withVault('vault:transit/one');
    const { active: old } = readKeyFile(join(directory, 'kek.json'));
    vault.isCareless = true;
    await expect(rotateKeys(both, active)).rejects.toMatchObject({ code: 'KX_CONFIG_INVALID' });
    vault.isCareless = false;
    vault.faults.push(503, 503);
    await expect(rotateKeys(both, active)).rejects.toMatchObject({ code: 'KX_KMS_UNAVAILABLE' });
    vault.keys.clear();
    await expect(rotateKeys(both, active)).rejects.toMatchObject({ code: 'KX_KMS_REFUSED' });

    expect((await keysStatus(both)).keys[0]).toMatchObject({ id: old, state: 'active' });
  });

  it('say that the key service is down when a backend starts, and start with it next time', async () => {
    const both = withVault('vault:transit/one');
    await rotateKeys(both, active);
    await createOrganisationCommand(both, 'beta', 'bob@beta.test');
    await (await start(both)).close();
    const { url } = vault;
    vault.faults.push(...Array.from({ length: 40 }, () => 503 as const));
    await expect(start(both)).rejects.toMatchObject({ code: 'KX_KMS_UNAVAILABLE' });
    vault.faults.length = 0;
    expect(url).toBe(vault.url);
    await (await start(both)).close();
  });

  it('are shown as a table and as JSON, prepared ones too', async () => {
    for (const [name, value] of Object.entries(base)) vi.stubEnv(name, value);
    const { active: old } = readKeyFile(join(directory, 'kek.json'));
    const run = async (...args: string[]): Promise<string[]> => {
      const lines: string[] = [];
      const program = createProgram({ print: (line) => lines.push(line), serve: async () => undefined });
      await program.parseAsync(args, { from: 'user' });
      return lines;
    };

    const prepared = await run('keys', 'rotate', '--prepare');
    const table = await run('keys', 'status');
    const json = JSON.parse((await run('keys', 'status', '--json')).join('\n'));

    expect(prepared[2]).toMatch(/copy it to every replica, then run `kontext-backend keys rotate`/);
    expect(table[0]).toMatch(/^KEY +PROVIDER +STATE +USES +SECRETS +ACTIVE FOR$/);
    expect(table[1]).toMatch(new RegExp(`^${old} +local +active +\\d+ +2 +less than a day$`));
    expect(table[2]).toMatch(/^kek-[0-9a-f]{16} +local +prepared +0 +0 +-$/);
    expect(json).toMatchObject({
      complete: true,
      keys: [{ id: old, state: 'active' }, { state: 'prepared' }],
    });
  });

  it('refuse to prepare a key where there is no key file', async () => {
    const remote = { ...withVault('vault:transit/one'), kekFile: null };
    await expect(rotateKeys(remote, { to: null, prepare: true })).rejects.toMatchObject({
      code: 'KX_CONFIG_INVALID',
    });
  });
});
