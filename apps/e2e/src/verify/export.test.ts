/**
 * An auditor's file: exported from a real backend, proven on a machine that knows nothing of it.
 *
 * Every change of a bundle: `packages/audit/src/export/verify-bundle.test.ts`. The job: `apps/backend/src/audit/exports`.
 */
import { copyFileSync, existsSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AuditTail, followAudit } from '../follow-audit.ts';
import { bashCall, startPuppet, writeTemplate } from '../puppet.ts';
import { runConfirmed } from '../run-confirmed.ts';
import { logIn, startWorld, type World } from '../world.ts';

describe('an export of the audit log', () => {
  let world: World;
  let tail: AuditTail;
  let sessionId: string;
  let file: string;
  let away: NodeJS.ProcessEnv;

  beforeAll(async () => {
    world = await startWorld({ upstream: false });
    expect((await logIn(world, ['--insecure-storage'])).exitCode).toBe(0);
    expect(
      (await runConfirmed(world, ['secrets', 'put', 'stripe'], { stdin: 'sk_test_of_the_story' })).exitCode,
    ).toBe(0);
    writeTemplate(world, 'STRIPE_KEY={{kontext:stripe}}\n');
    tail = followAudit(world);
    const puppet = await startPuppet(world);
    for (const id of ['1', '2', '3']) {
      const call = bashCall(`echo ${id}`, id);
      await puppet.hook('PreToolUse', call);
      await puppet.hook('PostToolUse', { ...call, tool_response: 'ok', duration_ms: 1 });
    }
    await tail.waitFor((event) => event.kind === 'tool_call.decided');
    await puppet.end();
    sessionId = puppet.sessionId;
    await tail.waitFor((event) => event.kind === 'session.ended' && event.session === sessionId);
    file = join(world.home.root, 'log.jsonl');
    const exported = await world.cli(['audit', 'export', '-o', file]);
    expect(exported.exitCode, exported.stderr).toBe(0);
    // Another machine: no login, no state, and a backend that nobody answers for.
    const home = mkdtempSync(join(world.home.root, 'auditor-'));
    away = {
      HOME: home,
      XDG_STATE_HOME: home,
      XDG_CONFIG_HOME: home,
      XDG_DATA_HOME: home,
      KONTEXT_API_URL: 'http://127.0.0.1:9',
    };
  });
  afterAll(async () => {
    await tail?.stop();
    await world?.close();
  });

  const verify = async (path: string, args: readonly string[] = [], env = {}) => {
    const { exitCode, stdout, stderr } = await world.cli(['audit', 'verify', path, '--json', ...args], {
      env,
    });
    return { exitCode, stderr, report: JSON.parse(stdout || '{}') as Record<string, unknown> };
  };
  const changed = (name: string, change: (text: string) => string): string => {
    const path = join(world.home.root, name);
    writeFileSync(path, change(readFileSync(file, 'utf8')));
    return path;
  };

  it('is nobody else’s to read, and is recorded', async () => {
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(existsSync(`${file}.part`)).toBe(false);
    await tail.waitFor((event) => event.kind === 'audit.exported');
    const list = await world.cli(['audit', 'exports', 'ls', '--json']);
    expect(JSON.parse(list.stdout)).toMatchObject({ state: 'ready', format: 'bundle', query: '' });
  });

  it('is proven by the key this machine has pinned, and agrees with what it saw', async () => {
    const { exitCode, report } = await verify(file);

    expect(exitCode).toBe(0);
    expect(report).toMatchObject({
      ok: true,
      scope: 'whole',
      trust: 'pinned',
      witness: 'agrees',
      findings: [],
    });
    const words = await world.cli(['audit', 'verify', file]);
    expect(words.stdout).toContain('holds    all of it');
    expect(words.stderr).toContain('proven: nothing of the log up to this checkpoint is missing');
  });

  it('is proven on another machine by the key that was given, and by nothing else', async () => {
    const { key } = JSON.parse((await world.cli(['audit', 'checkpoint', '--json'])).stdout) as {
      key: string;
    };
    const keyFile = join(world.home.root, 'log.key');
    writeFileSync(keyFile, `${key}\n`);

    expect(await verify(file, [], away)).toMatchObject({ exitCode: 14, report: { trust: null } });
    expect(await verify(file, ['--key', key], away)).toMatchObject({
      exitCode: 0,
      report: { trust: 'given' },
    });
    expect(await verify(file, ['--key', keyFile], away)).toMatchObject({ exitCode: 0 });
    expect(await verify(file, ['--key', 'nonsense'], away)).toMatchObject({ exitCode: 64 });
  });

  it('is not proven once anything of it was changed, taken out or cut off', async () => {
    const dropLine = (text: string): string => text.split('\n').toSpliced(-8, 1).join('\n');

    expect(
      (await verify(changed('byte.jsonl', (text) => text.replace('tool_call.decided', 'tool_call.failed'))))
        .exitCode,
    ).toBe(15);
    expect((await verify(changed('cut.jsonl', (text) => text.slice(0, text.length / 2)))).exitCode).toBe(13);
    expect([10, 15]).toContain((await verify(changed('row.jsonl', dropLine))).exitCode);
    expect((await verify(changed('none.jsonl', () => 'not a bundle\n'))).exitCode).toBe(65);
    expect((await verify(join(world.home.root, 'absent.jsonl'))).exitCode).toBe(65);
  });

  it('is fetched again by its id, goes on where it was cut off, and overwrites nothing', async () => {
    const { id } = JSON.parse(
      (await world.cli(['audit', 'exports', 'ls', '--json'])).stdout.split('\n')[0] ?? '{}',
    ) as { id: string };
    const again = join(world.home.root, 'again.jsonl');
    copyFileSync(file, `${again}.${id}.part`);
    writeFileSync(`${again}.${id}.part`, readFileSync(file).subarray(0, 1000));

    const fetched = await world.cli(['audit', 'export', '--id', id, '-o', again]);
    const twice = await world.cli(['audit', 'export', '--id', id, '-o', again]);

    expect(fetched.exitCode).toBe(0);
    expect(readFileSync(again).equals(readFileSync(file))).toBe(true);
    expect(twice.exitCode).toBe(64);
  });

  it('as a table has its rows, and refuses a query that is none', async () => {
    const table = join(world.home.root, 'log.csv');
    const made = await world.cli(['audit', 'export', `session:${sessionId}`, '--format', 'csv', '-o', table]);
    const refused = await world.cli(['audit', 'export', 'sesion:x', '-o', `${table}.2`]);

    expect(made.exitCode).toBe(0);
    expect(readFileSync(table, 'utf8')).toContain('tool_call.decided');
    expect(refused.exitCode).not.toBe(0);
    expect(refused.stderr).toContain('KX_QUERY_INVALID');
  });

  it('shows the consent behind a call as a tree', async () => {
    const { stdout, exitCode } = await world.cli(['audit', 'lineage', sessionId, '--json']);
    const { nodes } = JSON.parse(stdout) as {
      nodes: { type: string; kind: string; id: string; parentId: string }[];
    };
    const call = nodes.find(({ kind }) => kind === 'tool_call.decided');
    const above = (id: string): string[] => {
      const node = nodes.find((one) => one.id === id);
      return node === undefined ? [] : [node.type, ...above(node.parentId)];
    };

    expect(exitCode).toBe(0);
    expect(above(call?.id ?? '')).toEqual(['event', 'session', 'lease', 'connection', 'consent']);
    const tree = await world.cli(['audit', 'lineage', call?.id ?? '']);
    expect(tree.stdout).toMatch(/consent .* consented to stripe/);
    expect(tree.stdout).toMatch(/> .*event .*tool_call.decided Bash/);
  });
});
