/**
 * Leased roles of a real Postgres, with the built programs: a role that lives as long as a session, and is gone whatever ends it.
 *
 * What else can go wrong with a lease: `apps/backend/src/credentials/minted.test.ts`.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { databaseKinds, dumpDatabase, openDatabase, program, type StoryDatabase, sql } from '../databases.ts';
import { writeTemplate } from '../puppet.ts';
import { runConfirmed } from '../run-confirmed.ts';
import { type RunningCommand, startCommand } from '../running-command.ts';
import { logIn, startWorld, type World } from '../world.ts';
import { skipped as noPostgres, openTargetDatabase, type TargetDatabase } from './target-database.ts';

describe.each(databaseKinds)('on %s, a leased role %s', (kind, skipped) => {
  if (skipped !== '' || noPostgres !== '') return it.skip(skipped || noPostgres);
  let database: StoryDatabase;
  let target: TargetDatabase;
  let world: World;
  let count = 0;

  const psql = ['--', program('psql'), '-XAtq'];
  const isGone = () =>
    expect.poll(() => target.leasedRoles(), { timeout: 60_000, interval: 250 }).toEqual([]);

  /** A session that waits, and the URL it was given. */
  async function startSession(): Promise<{ command: RunningCommand; url: string; end: () => void }> {
    count += 1;
    const [ready, end] = ['ready', 'end'].map((name) => join(world.home.root, `${name}-${count}`));
    const script = `printf %s "$DATABASE_URL" > ${ready}.part; mv ${ready}.part ${ready}; while [ ! -e ${end} ]; do sleep 0.05; done`;
    const command = startCommand(world, ['run', '--trust', '--', '/bin/sh', '-c', script]);
    const over = command.ended.then(() => true);
    while (!existsSync(String(ready))) {
      if (await Promise.race([over, sleep(50, false)])) throw new Error(command.output());
    }
    const url = readFileSync(String(ready), 'utf8');
    return { command, url, end: () => writeFileSync(String(end), '') };
  }

  /** A client that holds a connection; `cut` settles with what it says when it is cut. */
  async function holdConnection(url: string): Promise<{ cut: Promise<string> }> {
    const child = spawn(program('psql'), ['-XAtq', url, '-c', 'SELECT 1', '-c', 'SELECT pg_sleep(600)']);
    let output = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    const cut = new Promise<string>((resolve) => child.once('close', () => resolve(output)));
    await new Promise((resolve) => child.stdout.once('data', resolve));
    return { cut };
  }

  beforeAll(async () => {
    [database, target] = await Promise.all([openDatabase(kind), openTargetDatabase()]);
    world = await startWorld({
      upstream: false,
      ...(database.url === undefined ? {} : { databaseUrl: database.url }),
    });
    expect((await logIn(world, ['--insecure-storage'])).exitCode).toBe(0);
    const added = await runConfirmed(world, ['providers', 'add', 'postgres', '--settings', target.settings], {
      stdin: target.adminUrl,
    });
    expect(added).toMatchObject({ exitCode: 0 });
    writeTemplate(world, 'DATABASE_URL={{kontext:postgres/prod-readonly}}\n');
  });
  afterAll(async () => {
    await world?.close();
    await target?.close();
    await database?.close();
  });

  it('reads what its template role may read, and is gone when the command has ended', async () => {
    const query = ['-c', 'SELECT note, left(current_user, 12) FROM invoices'];
    const result = await world.cli([
      ...[
        'run',
        '--trust',
        '--',
        '/bin/sh',
        '-c',
        `exec ${program('psql')} -XAtq "$DATABASE_URL" "$@"`,
        'sh',
      ],
      ...query,
    ]);

    expect(result).toMatchObject({ exitCode: 0, stdout: 'paid|kontext_lea_\n' });
    await isGone();
  });

  it('gives its parts one by one, all of one role', async () => {
    writeTemplate(
      world,
      [
        'PGUSER={{kontext:postgres/prod-readonly/user}}',
        'PGPASSWORD={{kontext:postgres/prod-readonly/password}}',
        'PGHOST={{kontext:postgres/prod-readonly/host}}',
        'PGPORT={{kontext:postgres/prod-readonly/port}}',
        'PGDATABASE={{kontext:postgres/prod-readonly/database}}',
        '',
      ].join('\n'),
    );
    const result = await world.cli(['run', '--trust', ...psql, '-c', 'SELECT note FROM invoices']);
    writeTemplate(world, 'DATABASE_URL={{kontext:postgres/prod-readonly}}\n');

    expect(result).toMatchObject({ exitCode: 0, stdout: 'paid\n' });
    await isGone();
  });

  it('cuts a connected client when the session ends', async () => {
    const { command, url, end } = await startSession();
    const { cut } = await holdConnection(url);
    expect(await target.leasedRoles()).toHaveLength(1);

    end();
    await command.ended;

    expect(await cut).toMatch(/terminating connection/);
    await isGone();
  });

  if (kind !== 'Postgres') return;
  const storeUrl = () => database.url ?? '';

  it('is gone after kill -9 of the command, once its session counts as lost', async () => {
    const { command, url, end } = await startSession();
    const { cut } = await holdConnection(url);
    command.kill('SIGKILL');
    await command.exited;
    expect(await target.leasedRoles()).toHaveLength(1);

    // Ninety seconds without a sign of life, without waiting for them.
    await sql(
      storeUrl(),
      "UPDATE sessions SET last_heartbeat_at = last_heartbeat_at - interval '91 seconds'",
    );

    expect(await cut).toMatch(/terminating connection/);
    await isGone();
    end();
  });

  it('is gone after kill -9 of the backend between mint and commit', async () => {
    // The commit waits in the database, so the backend dies with the role made and nothing stored of it.
    await sql(
      storeUrl(),
      `CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); RETURN NEW; END $$;
       CREATE TRIGGER stall BEFORE UPDATE ON leases FOR EACH ROW WHEN (NEW.state = 'active') EXECUTE FUNCTION stall();`,
    );
    const command = startCommand(world, ['run', '--trust', '--', 'true']);
    await expect.poll(() => target.leasedRoles(), { timeout: 30_000 }).toHaveLength(1);
    await world.backend.stop('SIGKILL');
    await sql(
      storeUrl(),
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%UPDATE leases SET state%' AND pid <> pg_backend_pid()`,
    );
    await sql(storeUrl(), 'DROP TRIGGER stall ON leases; DROP FUNCTION stall()');
    expect((await command.ended).exitCode).not.toBe(0);
    expect(await sql(storeUrl(), "SELECT count(*) FROM leases WHERE state = 'pending'")).toEqual(['1']);

    await world.restartBackend();
    expect(await target.leasedRoles()).toHaveLength(1);
    await sql(
      storeUrl(),
      "UPDATE leases SET created_at = created_at - interval '61 seconds' WHERE state = 'pending'",
    );

    await isGone();
    expect(
      await sql(storeUrl(), 'SELECT end_reason, revocation FROM leases ORDER BY id DESC LIMIT 1'),
    ).toEqual(['stale|done']);
  });

  it('leaves no password of a role, and none of the administrator, in the database of the backend', async () => {
    const { command, url, end } = await startSession();
    const { password } = new URL(url);
    const dump = await dumpDatabase(storeUrl());
    end();
    await command.ended;

    expect(dump).toContain('prod-readonly');
    expect(dump).not.toContain(password);
    expect(dump).not.toContain('only-for-leasing');
    await isGone();
  });
});
