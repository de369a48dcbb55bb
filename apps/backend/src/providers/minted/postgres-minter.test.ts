import { chmodSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { createId } from '@kontext/audit';
import { Secret } from '@kontext/redaction';
import { createSelfSignedCertificate, partState } from '@kontext/testkit';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Minted, MintedProvider, MinterDeps, MintRequest } from './minter.ts';
import { createPostgresMinter } from './postgres-minter.ts';
import { openTestTarget, type TestTarget, testMinterDeps, testProvider } from './test-target.ts';

const postgres = partState('postgres');

const connect = async (url: string): Promise<pg.Client> => {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  return client;
};
const urlOf = ({ values }: Minted): string => values.get('')?.reveal() ?? '';

describe.skipIf(!postgres.available)(`leased roles of Postgres ${postgres.reason}`, () => {
  let target: TestTarget;
  beforeAll(async () => {
    target = await openTestTarget();
  });
  afterAll(() => target.close());

  const minter = createPostgresMinter(testMinterDeps());
  const requestOf = (change: Partial<MintRequest> = {}): MintRequest => {
    const provider = change.provider ?? target.provider;
    return {
      ...{ provider, providerSecret: new Secret(target.adminUrl), target: minter.target(provider, '') },
      ...{ plannedName: minter.plan(createId('lea')), scopes: [], ttlSeconds: 600, orgId: 'o', userId: 'u' },
      ...{ agent: 'claude', sessionId: null, userToken: () => Promise.reject(new Error('not called')) },
      ...change,
    };
  };
  const revoke = ({ provider, providerSecret, plannedName }: MintRequest) =>
    minter.revoke({ provider, providerSecret, plannedName, kept: null, resource: '', leaseId: 'lea_1' });
  const mintFailing = (change: Partial<MintRequest>, deps: Partial<MinterDeps> = {}) =>
    expect(createPostgresMinter(testMinterDeps(deps)).mint(requestOf(change))).rejects;

  test('a role reads what its template may read, and nothing else', async () => {
    const request = requestOf();
    const client = await connect(urlOf(await minter.mint(request)));

    expect((await client.query('SELECT note FROM invoices')).rows).toEqual([{ note: 'paid' }]);
    await expect(client.query('DELETE FROM invoices')).rejects.toThrow(/permission denied/);
    await expect(client.query('CREATE ROLE another')).rejects.toThrow(/permission denied/);
    expect((await client.query('SELECT current_user')).rows).toEqual([{ current_user: request.plannedName }]);
    await client.end();
    await revoke(request);
  });

  test('every part of the connection can be had by itself, of one and the same role', async () => {
    const request = requestOf();
    const { values, expiresAt } = await minter.mint(request);
    const part = (name: string) => values.get(name)?.reveal();

    const client = new pg.Client({
      ...{ host: part('host'), port: Number(part('port')), user: part('user'), password: part('password') },
      database: part('database'),
    });
    await client.connect();
    await client.end();
    expect(part('url')).toBe(urlOf({ values } as Minted));
    expect(part('user')).toBe(request.plannedName);
    const [role] = await target.sql('SELECT rolvaliduntil, rolconnlimit FROM pg_roles WHERE rolname = $1', [
      request.plannedName,
    ]);
    // The database's clock is this machine's: they differ by what lies between the two readings.
    expect(Math.abs(Number(role?.rolvaliduntil) - Number(expiresAt))).toBeLessThan(30_000);
    expect(role?.rolconnlimit).toBe(10);
    await revoke(request);
  });

  test('revoking cuts a connected client and removes the role; once more, nothing is there', async () => {
    const request = requestOf();
    const url = urlOf(await minter.mint(request));
    const client = await connect(url);
    const cut = new Promise((resolve) => client.once('end', resolve));

    expect(await revoke(request)).toBe('revoked');

    await cut;
    await expect(connect(url)).rejects.toThrow(/authentication failed/);
    expect(await target.leasedRoles()).not.toContain(request.plannedName);
    expect(await revoke(request)).toBe('gone');
  });

  test('a mint that took too long to get there makes nothing: nobody would look for it any more', async () => {
    const request = requestOf();
    // Looking the name up, or waiting for a connection, took a minute.
    let readings = 0;
    const nowMs = () => Date.now() + (readings++ === 0 ? 0 : 60_000);
    const slow = createPostgresMinter(testMinterDeps({ nowMs }));
    await expect(slow.mint(request)).rejects.toMatchObject({
      ...{ code: 'KX_PROVIDER_UNREACHABLE', details: { reason: 'timeout' } },
    });
    expect(await target.leasedRoles()).not.toContain(request.plannedName);
  });

  test('what was never made is gone', async () => {
    expect(await revoke(requestOf())).toBe('gone');
    expect(await revoke(requestOf({ plannedName: 'postgres' }))).toBe('gone');
  });

  test('what a role made in any database stays, as property of the template', async () => {
    const other = `${target.database}_more`;
    await target.sql(`CREATE DATABASE ${other}`);
    const request = requestOf();
    const url = urlOf(await minter.mint(request));
    const made = await connect(url);
    await made.query('CREATE TABLE made_by_agent AS SELECT 1 AS one');
    const elsewhere = await connect(url.replace(`/${target.database}?`, `/${other}?`));
    await elsewhere.query('CREATE TEMPORARY TABLE gone_with_the_session (id int)');
    await target.sql(`ALTER DATABASE ${other} OWNER TO "${request.plannedName}"`);

    expect(await revoke(request)).toBe('revoked');

    const owners = await target.sql(
      `SELECT tableowner AS owner FROM pg_tables WHERE tablename = 'made_by_agent'
        UNION ALL SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = $1`,
      [other],
    );
    expect(owners).toEqual([{ owner: target.templateRole }, { owner: target.templateRole }]);
    await target.sql(`DROP TABLE made_by_agent`);
    await target.sql(`DROP DATABASE ${other}`);
  });

  test('two that revoke at once leave nothing behind', async () => {
    const request = requestOf();
    await minter.mint(request);
    const both = await Promise.allSettled([revoke(request), revoke(request)]);
    // The server lets one of two concurrent changes of a role fail; that one is to be tried again.
    for (const one of both) {
      if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'KX_PROVIDER_UNREACHABLE' });
    }
    await revoke(request);
    expect(await target.leasedRoles()).not.toContain(request.plannedName);
  });

  const without = (change: object): MintedProvider => {
    const settings = JSON.parse(target.provider.settings);
    return testProvider('postgres', { ...settings, ...change });
  };
  const roleOf = (role: string) => without({ databases: { prod: { database: target.database, role } } });

  test.each([
    ['SUPERUSER', ''],
    ['CREATEROLE', ''],
    // A member may set the template's password, and log in with it for ever.
    ['LOGIN', ''],
    ['NOLOGIN IN ROLE pg_execute_server_program', ''],
    ['NOLOGIN IN ROLE pg_read_server_files', ''],
    ['NOLOGIN IN ROLE pg_write_server_files', ''],
    ['NOLOGIN', 'GRANT mighty TO '],
  ])('a template that is or may become mighty is refused: %s %s', async (attribute, membership) => {
    const name = `template ${target.database}`;
    await target.sql(`CREATE ROLE "${name}" ${attribute}`);
    const boss = `boss_${target.database}`;
    if (membership !== '') await target.sql(`CREATE ROLE ${boss} BYPASSRLS; GRANT ${boss} TO "${name}"`);

    await mintFailing({ provider: roleOf(name) }).toMatchObject({
      ...{ code: 'KX_MINT_REFUSED', message: 'the template role may do too much' },
    });

    await target.sql(`DROP ROLE "${name}"`);
    await target.sql(`DROP ROLE IF EXISTS ${boss}`);
  });

  test('a template that does not exist, or that the administrator may not give, is refused', async () => {
    await mintFailing({ provider: roleOf('no "such" role') }).toMatchObject({
      ...{ code: 'KX_MINT_REFUSED', message: 'the template role does not exist in the database' },
    });
    const foreign = `foreign's ${target.database}`;
    await target.sql(`CREATE ROLE "${foreign}"`);
    const admin = new URL(target.adminUrl);
    await target.sql(`ALTER ROLE ${admin.username} NOCREATEROLE`);
    await mintFailing({ provider: roleOf(foreign) }).toMatchObject({
      ...{ code: 'KX_MINT_REFUSED', details: { sqlstate: '42501' } },
    });
    await target.sql(`ALTER ROLE ${admin.username} CREATEROLE`);
    await target.sql(`DROP ROLE "${foreign}"`);
  });

  test('a wrong password of the administrator is refused, a server that is away is to be tried again', async () => {
    const url = new URL(target.adminUrl);
    url.password = 'wrong';
    await mintFailing({ providerSecret: new Secret(url.href) }).toMatchObject({
      ...{ code: 'KX_MINT_REFUSED', details: { sqlstate: '28P01' } },
    });
    url.port = '1';
    await mintFailing({ providerSecret: new Secret(url.href) }).toMatchObject({
      ...{ code: 'KX_PROVIDER_UNREACHABLE', details: { reason: 'network' } },
    });
  });

  test.each([
    '',
    'mysql://u:p@127.0.0.1/x',
    'postgres://127.0.0.1/x',
    'postgres://u@127.0.0.1/x',
    'postgres://u:p@127.0.0.1/x?sslmode=disable',
    'postgres://u:%zz@127.0.0.1/x',
  ])('an administrator connection that cannot be used is not quoted: %j', async (secret) => {
    const error = await minter
      .mint(requestOf({ providerSecret: new Secret(secret) }))
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'KX_PROVIDER_INVALID' });
    expect(JSON.stringify(error)).not.toContain('127.0.0.1');
  });

  test.each([
    ['10.0.0.1', {}],
    ['169.254.169.254', {}],
    ['127.0.0.1', { local: false }],
    ['localhost', { local: false }],
  ])('a database at the address %s is not connected to', async (host, deps) => {
    const providerSecret = new Secret(`postgres://u:p@${host}/x`);
    await mintFailing({ providerSecret, provider: without({ tls: 'verify-full' }) }, deps).toMatchObject({
      ...{ code: 'KX_PROVIDER_UNREACHABLE', details: { reason: 'address' } },
    });
  });

  test.each([
    ['says nothing', ''],
    ['speaks something else', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
  ])('a server that %s is given up, with and without TLS', async (_what, says) => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined).on('data', () => says && socket.end(says));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const providerSecret = new Secret(`postgres://u:p@127.0.0.1:${port}/x`);
    const modes = ['off', 'verify-full'].map((tls) =>
      minter.mint(requestOf({ providerSecret, provider: without({ tls }) })).catch((error: unknown) => error),
    );
    for (const error of await Promise.all(modes))
      expect(error).toMatchObject({ code: 'KX_PROVIDER_UNREACHABLE' });
    server.close();
  });

  test('a connection without TLS is refused unless the setting says so, and that works on loopback alone', async () => {
    await mintFailing({ provider: without({ tls: undefined }) }).toMatchObject({
      code: 'KX_PROVIDER_UNREACHABLE',
    });
    const providerSecret = new Secret('postgres://u:p@8.8.8.8/x');
    await mintFailing({ providerSecret }).toMatchObject({ code: 'KX_PROVIDER_INVALID' });
  });

  test('a placeholder names a database and a part of its connection', () => {
    const two = without({
      databases: { a: { database: 'x', role: 'r' }, b: { database: 'y', role: 'r', maxTtlSeconds: 120 } },
    });
    expect(minter.target(two, 'b/password')).toEqual({
      ...{ base: 'b', field: 'password', scopes: [], ttlSeconds: { min: 60, max: 120 } },
    });
    expect(minter.target(target.provider, '')).toMatchObject({ base: 'prod', field: '' });
    for (const wrong of ['', 'c', 'a/', 'a/secret', '__proto__', 'a/url/x']) {
      expect(() => minter.target(two, wrong)).toThrow(
        expect.objectContaining({ code: 'KX_RESOURCE_UNKNOWN', message: expect.stringMatching(/known: /) }),
      );
    }
  });
});

describe.skipIf(!postgres.available)(`a server of its own ${postgres.reason}`, () => {
  let target: TestTarget;
  beforeAll(async () => {
    target = await openTestTarget({ own: true });
  });
  afterAll(() => target.close());

  test('TLS is checked by name, and the password stands in no log of the server', async () => {
    const { cert, key } = await createSelfSignedCertificate();
    const [{ dir } = { dir: '' }] = await target.sql("SELECT current_setting('data_directory') AS dir");
    for (const [file, pem] of [
      ['server.crt', cert],
      ['server.key', key],
    ] as const) {
      const rows = pem
        .toString()
        .trim()
        .split('\n')
        .map((line) => `('${line}')`);
      await target.sql(`COPY (VALUES ${rows.join(', ')}) TO '${dir}/${file}'`);
    }
    // COPY leaves the key readable by all, which the server refuses.
    chmodSync(`${dir}/server.key`, 0o600);
    await target.sql("ALTER SYSTEM SET log_statement = 'all'");
    await target.sql('ALTER SYSTEM SET ssl = on');
    await target.sql('SELECT pg_reload_conf()');
    await expect.poll(() => target.sql('SHOW ssl'), { timeout: 20_000 }).toEqual([{ ssl: 'on' }]);
    const minter = createPostgresMinter(testMinterDeps());
    const settings = { ...JSON.parse(target.provider.settings), tls: 'verify-full' };
    const requestOf = (change: object): MintRequest => ({
      ...{ provider: testProvider('postgres', { ...settings, ...change }), scopes: [], ttlSeconds: 600 },
      ...{ providerSecret: new Secret(target.adminUrl), target: minter.target(target.provider, '') },
      ...{ plannedName: minter.plan(createId('lea')), orgId: 'o', userId: 'u', agent: 'claude' },
      ...{ sessionId: null, userToken: () => Promise.reject(new Error('not called')) },
    });

    await expect(minter.mint(requestOf({}))).rejects.toMatchObject({ code: 'KX_PROVIDER_UNREACHABLE' });
    const { values } = await minter.mint(requestOf({ ca: cert.toString() }));

    expect(values.get('')?.reveal()).toMatch(/sslmode=verify-full$/);
    const [{ log } = { log: '' }] = await target.sql(`SELECT pg_read_file('${dir}/../server.log') AS log`);
    expect(log).toMatch(/CREATE ROLE "kontext_lea_/);
    expect(log).not.toContain(values.get('password')?.reveal());
  });
});
