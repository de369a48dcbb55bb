/**
 * A policy from files to running sessions and back: pulled, edited, tested, pushed, replayed, published with a confirmation in the
 * browser, heard of by agents that run already, explained, restored. Everything is the built command and the built backend.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CommandResult } from '@kontext/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findUndocumented } from '../find-undocumented.ts';
import { type AuditTail, followAudit, type TailedEvent } from '../follow-audit.ts';
import { bashCall, type Puppet, startPuppet, writeTemplate } from '../puppet.ts';
import { runConfirmed } from '../run-confirmed.ts';
import { logIn, startWorld, type World } from '../world.ts';
import { worldOf } from '../world-of.ts';

const rule = `@id("acme.no-deploy")
@reason("deploys are made by hand")
forbid (principal, action == Action::"tool_call", resource == Command::"make")
when { resource.subcommand == "deploy" };
`;
const examples = {
  v: 1,
  examples: [
    {
      ...{ name: 'a deploy', rule: 'acme.no-deploy', effect: 'deny' },
      call: { tool: 'Bash', command: 'npm test && make deploy' },
    },
    { name: 'a build', rule: null, effect: 'allow', call: { tool: 'Bash', command: 'make build' } },
  ],
};

describe('a policy', () => {
  let world: World;
  let dana: World;
  let tail: AuditTail;
  let owners: Puppet;
  let danas: Puppet;

  beforeAll(async () => {
    world = await startWorld({ upstream: false, people: [{ name: 'dana', groups: ['platform'] }] });
    expect((await logIn(world, ['--insecure-storage'])).exitCode).toBe(0);
    dana = await worldOf(world, 'dana');
    tail = followAudit(world);
    owners = await open(world);
    danas = await open(dana);
  });
  afterAll(async () => {
    await owners?.end();
    await danas?.end();
    await tail?.stop();
    await dana?.close();
    await world?.close();
  });

  const open = async (whose: World): Promise<Puppet> => {
    writeTemplate(whose, 'LEVEL=debug\n');
    const puppet = await startPuppet(whose);
    await puppet.hook('SessionStart', { source: 'startup' });
    return puppet;
  };
  const policy = (...args: string[]): Promise<CommandResult> => world.cli(['policy', ...args]);
  const ok = (result: CommandResult): string => {
    expect(result.exitCode, result.stderr).toBe(0);
    return result.stdout;
  };
  const confirmed = async (...args: string[]): Promise<string> =>
    ok(await runConfirmed(world, ['policy', ...args]));
  const call = (puppet: Puppet, id: string, command = 'make deploy') =>
    puppet.hook('PreToolUse', bashCall(command, id));
  const decided = (id: string): Promise<Decided> =>
    tail.waitFor(({ header }) => header.includes(`"toolu_${id}"`)).then(readDecided);
  const took = (puppet: Puppet, version: number, mode: string): Promise<TailedEvent> =>
    tail.waitFor(
      ({ kind, session, header }) =>
        kind === 'policy.changed' &&
        session === puppet.sessionId &&
        readHeader(header).policyVersion === version &&
        readHeader(header).mode === mode,
    );
  const holds = async () => {
    const { publications } = JSON.parse(ok(await policy('history', '--json')));
    return publications.map((one: Record<string, unknown>) => [one.group, one.version, one.mode]);
  };

  it('is pulled, edited, checked and tried on examples without touching the backend', async () => {
    ok(await policy('pull', 'policies'));
    writeFileSync(join(world.home.workDir, 'policies', 'acme.cedar'), rule.replace('@id', '@idd'));
    const broken = await policy('validate', 'policies');
    writeFileSync(join(world.home.workDir, 'policies', 'acme.cedar'), rule);
    writeFileSync(join(world.home.workDir, 'policies', 'acme.examples.json'), JSON.stringify(examples));

    expect(broken.exitCode).toBe(65);
    expect(broken.stdout).toMatch(/policies\/acme\.cedar:\d+:\d+: error: .*missing-id/);
    ok(await policy('validate', 'policies'));
    expect(ok(await policy('test', 'policies', '--policies', 'policies'))).toContain('1..2\nok 1 - ');
    const without = await policy('test', 'policies');
    expect(without.exitCode).toBe(1);
    expect(without.stdout).toContain('not ok 1 - ');
    expect(await holds()).toEqual([[null, 1, 'observe']]);
  });

  it('is pushed as a draft that changes nothing, and compared with what holds', async () => {
    expect((await confirmed('push', 'policies', '--reason', 'no deploys')).trim()).toBe('2');

    expect(await holds()).toEqual([[null, 1, 'observe']]);
    const { from, to, rules } = JSON.parse(ok(await policy('diff', '--json')));
    expect([from, to]).toEqual(['version 1', 'version 2']);
    expect(rules).toMatchObject([{ rule: 'acme.no-deploy', change: 'added' }]);
    expect(ok(await policy('diff', 'policies', '2'))).toBe('');
  });

  it('is replayed over what sessions did, and says whom it would newly deny what', async () => {
    await call(owners, 'before-1');
    await call(owners, 'before-2', 'cd . && make deploy');
    await call(danas, 'before-3', 'make build');
    for (const id of ['before-1', 'before-2', 'before-3']) expect((await decided(id)).decision).toBe('allow');

    const drafted = JSON.parse(ok(await policy('replay', '--version', '2', '--since', '1h', '--json')));
    const files = ok(await policy('replay', 'policies', '--since', '1h', '--json'));
    const words = await policy('replay', 'policies', '--since', '1h');

    expect(drafted).toMatchObject({ calls: 3, same: 1, newlyDenied: 2, newlyAllowed: 0, sessions: 2 });
    expect(drafted.groups).toHaveLength(2);
    for (const group of drafted.groups) {
      expect(group).toMatchObject({
        before: 'allow',
        after: 'deny',
        rule: 'acme.no-deploy',
        people: ['owner'],
      });
    }
    expect(JSON.parse(files)).toEqual(drafted);
    expect(words.stdout).toMatch(/^1\tallow\tdeny\tacme\.no-deploy\tBash: make\towner\tevt_/m);
    expect(words.stderr).toContain('3 calls of everybody (2 people in 2 sessions): 2 newly denied');
  });

  it('published in observe, reaches sessions that run already, which record it and let the call run', async () => {
    await confirmed('publish', '2', '--mode', 'observe', '--reason', 'look first');

    await Promise.all([took(owners, 2, 'observe'), took(danas, 2, 'observe')]);
    const observed = await call(owners, 'observed');
    expect(observed).toMatchObject({ exitCode: 0, stdout: '', stderr: '' });
    expect(await decided('observed')).toMatchObject({
      ...{ decision: 'deny', session: owners.sessionId },
      header: { mode: 'observe', rule: 'acme.no-deploy', policyVersion: 2 },
    });
  });

  it('published in enforce for one group, denies its member and nobody else', async () => {
    await confirmed('publish', '2', '--group', 'platform', '--mode', 'enforce', '--reason', 'them first');

    await took(danas, 2, 'enforce');
    const denied = await call(danas, 'member');
    // Time enough for the other session to have heard of it as well.
    await sleep(3000);
    const other = await call(owners, 'other');

    expect(denied.exitCode).toBe(2);
    expect(denied.stderr).toContain('kontext: denied by rule acme.no-deploy: deploys are made by hand');
    expect(await decided('member')).toMatchObject({ header: { mode: 'enforce', decision: 'deny' } });
    expect(other).toMatchObject({ exitCode: 0, stdout: '', stderr: '' });
    expect(await decided('other')).toMatchObject({ header: { mode: 'observe', decision: 'deny' } });
    expect(await holds()).toEqual([
      [null, 2, 'observe'],
      ['platform', 2, 'enforce'],
    ]);
  });

  it('explains a decision by its event: who, which part, which rule, and its text', async () => {
    const { header } = await decided('member');

    const { stdout } = await policy('explain', String(header.id));
    const explained = JSON.parse(ok(await policy('explain', String(header.id), '--json')));

    expect(stdout).toMatch(/user: dana\n/);
    expect(stdout).toMatch(/decision: deny by rule acme\.no-deploy, version 2, enforce\n/);
    expect(stdout).toContain(`  ${rule.split('\n')[2]}`);
    expect(explained).toMatchObject({
      ...{ tool: 'Bash', user: 'dana', sessionId: danas.sessionId, notReproducible: null },
      recorded: { effect: 'deny', rule: 'acme.no-deploy', policyVersion: 2, mode: 'enforce' },
      again: { effect: 'deny', rule: 'acme.no-deploy' },
      ruleText: expect.stringContaining('resource == Command::"make"'),
    });
    expect(
      (await dana.cli(['policy', 'explain', String((await decided('other')).header.id)])).stderr,
    ).toContain('KX_NOT_FOUND');
  });

  it('an earlier version is restored, and the group gets what holds for everybody again', async () => {
    await confirmed('restore', '1');
    await confirmed('withdraw', '--group', 'platform', '--reason', 'enough');

    await Promise.all([took(owners, 1, 'observe'), took(danas, 1, 'observe')]);
    expect(await call(danas, 'restored')).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await decided('restored')).toMatchObject({ decision: 'allow' });
    expect(await holds()).toEqual([[null, 1, 'observe']]);
    const { versions } = JSON.parse(ok(await policy('history', '--json')));
    expect(versions).toMatchObject([
      { version: 2, author: 'owner', reason: 'no deploys', holds: [] },
      { version: 1, holds: [{ mode: 'observe', reason: expect.stringContaining('version 2') }] },
    ]);
    ok(await policy('pull', '--version', '2', 'copy'));
    expect(readFileSync(join(world.home.workDir, 'copy', 'acme.cedar'), 'utf8')).toBe(rule);
  });

  it('whoever denies the page, or may not publish, changes nothing', async () => {
    const args = ['policy', 'publish', '2', '--mode', 'enforce', '--reason', 'go'];
    const refused = await runConfirmed(world, args, { decision: 'deny' });
    const member = await runConfirmed(dana, args);

    expect(refused.exitCode).not.toBe(0);
    expect(member.exitCode).toBe(77);
    expect(await holds()).toEqual([[null, 1, 'observe']]);
  });

  it('the last word of a session counts what was denied', async () => {
    const { stderr } = await danas.end();

    expect(stderr).toContain('3 tool calls, 1 denied');
    expect(stderr).not.toContain('stale');
  });

  it('has left events that are all as they are documented', () => {
    expect(tail.events.map(({ kind }) => kind)).toContain('policy.published');
    expect(findUndocumented(tail.events)).toEqual([]);
  });
});

interface Decided extends Omit<TailedEvent, 'header'> {
  readonly header: Readonly<Record<string, unknown>>;
}

const readHeader = (header: string) => JSON.parse(header) as Readonly<Record<string, unknown>>;
const readDecided = (event: TailedEvent): Decided => ({ ...event, header: readHeader(event.header) });
