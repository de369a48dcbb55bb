import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CallAction, CallReader, CallWorld, Decision } from '@kontext/policy';
import { createRedactor, Secret } from '@kontext/redaction';
import { describe, expect, it } from 'vitest';
import { claude } from '../agents/claude.ts';
import { createCallBuilder } from './build-call.ts';
import { type CallFacts, noFacts } from './call-facts.ts';
import { readEvent } from './read-event.ts';
import { call, handle, nothing, request, setUp } from './test-handler.ts';

const secret = 'sk_live_0123456789abcdef';
const redactor = createRedactor([new Secret(secret)]);
const actor = { user: 'usr_1', org: 'org_1', session: 'ses_1', groups: ['dev'], role: 'member' };

/** A reader that keeps what it is given, in the place of the real one. */
function setUpBuilder(facts: Partial<CallFacts> = {}, loadReader?: () => Promise<CallReader>) {
  const heard: { tool: string; actions: readonly CallAction[]; world: CallWorld }[] = [];
  const reader: CallReader = {
    read(tool, actions, world) {
      heard.push({ tool, actions, world });
      return { parts: [{ kind: 'tool', name: tool }], opaque: ['dynamic'] };
    },
  };
  const builder = createCallBuilder({
    ...{ agent: claude, actor, redactor },
    facts: { ...noFacts, ...facts },
    loadReader: loadReader ?? (async () => reader),
  });
  const build = (hook: ReturnType<typeof request>) =>
    builder.build(hook.event, readEvent(claude, redactor, hook));
  return { heard, build };
}

describe('a call', () => {
  it('holds who acts, where, under which version, with which credentials, and when', async () => {
    const { build } = setUpBuilder({
      agentVersion: () => '2.1.330',
      credentials: () => ['github', 'stripe'],
      repositoryOf: async (directory) => ({ name: `of ${directory}`, branch: 'main' }),
      nowMs: () => 42,
    });
    const { call: built, failure } = await build(
      call('PreToolUse', 'ls', { agent_id: 'a', agent_type: 'Explore' }),
    );
    expect(failure).toBeNull();
    expect(built).toMatchObject({
      ...actor,
      ...{ schema: 2, agent: 'claude', agentVersion: '2.1.330', event: 'PreToolUse', tool: 'Bash' },
      ...{ command: 'ls', cwd: '/w', permissionMode: 'default', subagent: 'Explore', opaque: ['dynamic'] },
      ...{ repository: { name: 'of /w', branch: 'main' }, credentials: ['github', 'stripe'], atMs: 42 },
    });
  });

  it('is read from its redacted input, with the world around it', async () => {
    const { build, heard } = setUpBuilder({ home: '/home/dev', projectRoot: '/w' });
    await build(call('PreToolUse', `curl -H ${secret}`));
    expect(heard[0]?.actions).toEqual([{ kind: 'shell', command: 'curl -H [redacted]', shell: 'posix' }]);
    expect(heard[0]?.world).toMatchObject({ cwd: '/w', home: '/home/dev', projectRoot: '/w' });
  });

  it('shows no secret in what the machine says either', async () => {
    const { build } = setUpBuilder({ repositoryOf: async () => ({ name: `h/${secret}`, branch: secret }) });
    const { call: built } = await build(call('PreToolUse', 'ls'));
    expect(built.repository).toEqual({ name: 'h/[redacted]', branch: '[redacted]' });
  });

  it('sees the links of this moment, also those the call before has made', async () => {
    const root = realpathSync(mkdtempSync(join(tmpdir(), 'kontext-links-')));
    try {
      mkdirSync(join(root, 'secret'));
      const { build, heard } = setUpBuilder();
      await build(call('PreToolUse', 'ls'));
      expect(heard[0]?.world.realPath(join(root, 'link/x'))).toBe(join(root, 'link/x'));
      symlinkSync('secret', join(root, 'link'));
      await build(call('PreToolUse', 'ls'));
      expect(heard[1]?.world.realPath(join(root, 'link/x'))).toBe(join(root, 'secret/x'));
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });

  it.each([['relative/dir'], [5], [undefined]])(
    'has no directory to start from when it is %j',
    async (cwd) => {
      const asked: string[] = [];
      const repositoryOf = async (directory: string) => {
        asked.push(directory);
        return null;
      };
      const { build, heard } = setUpBuilder({ repositoryOf });
      const { call: built } = await build(call('PreToolUse', 'ls', { cwd }));
      expect([heard[0]?.world.cwd, built.repository, asked]).toEqual([null, null, []]);
    },
  );

  it('that cannot be decoded is unreadable, and no reader is asked', async () => {
    const { build, heard } = setUpBuilder();
    const { call: built, failure } = await build(request('PreToolUse', 'garbage'));
    expect([built.opaque, built.parts, failure, heard]).toEqual([
      ['unreadable'],
      [{ kind: 'tool', name: '' }],
      null,
      [],
    ]);
  });

  it.each([
    ['cannot be loaded', () => Promise.reject(new Error('no grammar'))],
    [
      'fails',
      async () => ({
        read() {
          throw new Error('no grammar');
        },
      }),
    ],
  ] as [string, () => Promise<CallReader>][])(
    'is never let through without its parts when the reader %s',
    async (_name, loadReader) => {
      const { build } = setUpBuilder({}, loadReader);
      expect(await build(call('PreToolUse', 'ls'))).toMatchObject({
        failure: 'no grammar',
        call: { opaque: ['unreadable'] },
      });
      const enforced = setUp({ more: { loadReader } });
      const [exitCode, , stderr] = await handle(enforced.handler, call('PreToolUse', 'ls'));
      expect([exitCode, stderr]).toEqual([2, 'kontext: denied: the call could not be read\n']);
      expect(JSON.parse(enforced.events[0]!.payload!)).toMatchObject({ failure: 'no grammar' });
      const observed = setUp({ mode: 'observe', more: { loadReader } });
      expect(await handle(observed.handler, call('PreToolUse', 'ls'))).toEqual(nothing);
      expect(observed.events[0]?.fields).toMatchObject({ decision: 'deny', mode: 'observe' });
    },
  );

  it('that the policy takes too long for is denied in enforce', async () => {
    const policy = {
      mode: 'enforce',
      version: 1,
      decide: () => new Promise<never>(() => undefined),
    } as const;
    const { handler, events } = setUp({ more: { policy, decideWithinMs: 5 } });
    expect((await handle(handler, call('PreToolUse', 'ls')))[0]).toBe(2);
    expect(JSON.parse(events[0]!.payload!).failure).toBe('no answer within 5 ms');
  });

  it('decided with a stale policy says so in its record', async () => {
    const decision: Decision = {
      ...{ effect: 'allow' as const, rule: null, reason: 'no rule forbids it', part: null, approver: null },
      ...{ fourEyes: false, sensitive: false, policyVersion: 1, mode: 'enforce' as const, failure: null },
    };
    const policy = { mode: 'enforce', version: 1, stale: true, decide: async () => decision } as const;
    const { handler, events } = setUp({ more: { policy } });
    await handle(handler, call('PreToolUse', 'ls'));
    expect(JSON.parse(events[0]!.payload!)).toMatchObject({ policyStale: true });
  });
});
