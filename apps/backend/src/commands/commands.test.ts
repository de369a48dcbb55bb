import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findFreePort, startPostgresCluster } from '@kontext/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Config, loadConfig } from '../config.ts';
import { createLogger } from '../log.ts';
import { addUserCommand, createOrganisationCommand, migrate } from './administer.ts';
import { serve } from './serve.ts';

const logger = createLogger('silent');

describe('serve in local mode', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'kontext-serve-'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it('shows the passcode at the first start and never again', { timeout: 180_000 }, async () => {
    const env = {
      KONTEXT_DATA_DIR: join(directory, 'data'),
      KONTEXT_LISTEN: `127.0.0.1:${await findFreePort()}`,
    };
    const config = loadConfig(env);
    const first: string[] = [];
    const backend = await serve(config, logger, (line) => first.push(line));
    const ready = await fetch(`${backend.url}/readyz`);
    await backend.close();
    expect(ready.status).toBe(200);
    expect(first[0]).toMatch(
      /^kontext-backend: local account: owner {2}passcode: [2-9A-Z]{4}-[2-9A-Z]{4}-[2-9A-Z]{4}$/,
    );
    expect(first[1]).toBe(`kontext-backend: listening on ${config.apiUrl}`);

    const second: string[] = [];
    await (await serve(config, logger, (line) => second.push(line))).close();
    expect(second).toEqual([first[1]]);

    const bob = await addUserCommand(config, {
      orgSlug: 'default',
      name: 'bob',
      role: 'admin',
      groups: ['eng'],
    });
    expect(bob.passcode).not.toBe('');
    for (const bad of [
      { orgSlug: 'default', name: 'bob', role: 'admin', groups: [] },
      { orgSlug: 'default', name: 'eve', role: 'king', groups: [] },
      { orgSlug: 'nowhere', name: 'eve', role: 'member', groups: [] },
      { orgSlug: 'default', name: '../eve', role: 'member', groups: [] },
    ]) {
      await expect(addUserCommand(config, bad)).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
    }

    // The login page asks for a name and no organisation: a second account of that name could never log in.
    const again = createOrganisationCommand(config, 'second', 'owner');
    await expect(again).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
    expect((await createOrganisationCommand(config, 'second', 'carol')).passcode).not.toBe('');
  });

  it('says that the port is taken', { timeout: 180_000 }, async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    const env = { KONTEXT_DATA_DIR: join(directory, 'data'), KONTEXT_LISTEN: `127.0.0.1:${port}` };
    const serving = serve(loadConfig(env), logger, () => undefined);
    await expect(serving).rejects.toMatchObject({ code: 'KX_CONFIG_INVALID' });
    other.close();
  });
});

describe('serve outside local mode', () => {
  let cluster: Awaited<ReturnType<typeof startPostgresCluster>>;
  let directory: string;
  let config: Config;
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'kontext-serve-'));
    cluster = await startPostgresCluster();
    const database = await cluster.createDatabase();
    const kekFile = join(directory, 'kek.json');
    const { loadLocalKms } = await import('../kms/local-kms.ts');
    loadLocalKms({ path: kekFile, create: true });
    config = loadConfig({
      DATABASE_URL: database.url,
      KONTEXT_KEK_FILE: kekFile,
      KONTEXT_PUBLIC_URL: 'https://kontext.example.com',
      KONTEXT_LISTEN: `127.0.0.1:${await findFreePort()}`,
    });
  });
  afterAll(async () => {
    await cluster?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  it('refuses an old schema until migrate ran, and a missing key', async () => {
    await expect(serve(config, logger, () => undefined)).rejects.toMatchObject({
      code: 'KX_STORE_SCHEMA_OLD',
    });
    expect(await migrate(config)).toBeGreaterThan(0);
    expect(await migrate(config)).toBe(0);
    await expect(serve({ ...config, kekFile: null }, logger, () => undefined)).rejects.toMatchObject({
      code: 'KX_KEK_MISSING',
    });

    const owner = await createOrganisationCommand(config, 'acme', 'alice@acme.test');
    expect(owner.passcode).toBe('');
    await expect(createOrganisationCommand(config, 'acme', 'x')).rejects.toMatchObject({
      code: 'KX_REQUEST_INVALID',
    });
    await expect(createOrganisationCommand(config, 'Bad Name', 'x')).rejects.toMatchObject({
      code: 'KX_REQUEST_INVALID',
    });

    const lines: string[] = [];
    const backend = await serve(config, logger, (line) => lines.push(line));
    const origin = `http://127.0.0.1:${config.listen.port}`;
    const metadata = await (await fetch(`${origin}/oauth/.well-known/openid-configuration`)).json();
    const login = await fetch(`${origin}/login`);
    await backend.close();
    expect(login.status).toBe(403);
    expect(await login.text()).toMatch(/no organisation has an identity provider yet/);
    expect(lines).toEqual(['kontext-backend: listening on https://kontext.example.com']);
    expect(metadata).toMatchObject({ issuer: 'https://kontext.example.com/oauth' });
    expect(login.headers.get('set-cookie')).toMatch(/^__Host-kontext_browser=.*; Secure$/);
  });
});
