/**
 * Hook input that cannot be read, through the built client, a real session and the real log.
 *
 * Each reason by itself, and events that never block: `apps/cli/src/hooks/decide-and-record.test.ts`,
 * `parse-input.test.ts`. What a client does with 100 MB: `hooks/client.test.ts`. Frames: `hooks/frames.test.ts`.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AuditTail, followAudit, type TailedEvent } from '../follow-audit.ts';
import { bashCall, type Puppet, startPuppet, writeTemplate } from '../puppet.ts';
import { logIn, startWorld, type World } from '../world.ts';

let world: World;
let tail: AuditTail;

beforeAll(async () => {
  world = await startWorld({ upstream: false });
  expect((await logIn(world, ['--insecure-storage'])).exitCode).toBe(0);
  writeTemplate(world, 'LOG_LEVEL=debug\n');
  tail = followAudit(world);
});
afterAll(async () => {
  await tail?.stop();
  await world?.close();
});

const deep = `{"tool_input":${'['.repeat(200)}${']'.repeat(200)}}`;
const unreadable: [string, Uint8Array, RegExp][] = [
  ['is empty', Buffer.alloc(0), /empty/],
  ['is truncated', Buffer.from('{"hook_event_name":"PreToolUse","tool_na'), /JSON/],
  ['is not JSON', Buffer.from('hello'), /JSON/],
  ['is 100 MB', Buffer.alloc(100_000_000, ' '), /1 MiB/],
  ['is deeper than 64', Buffer.from(deep), /deep|nest/],
  ['is not UTF-8', Buffer.from([0x22, 0xff, 0x22]), /UTF-8/],
];

/** The decision on a call in one session; there is one such event per case. */
async function recorded(puppet: Puppet, at: number): Promise<{ event: TailedEvent; payload: Payload }> {
  const decided = () =>
    tail.events.filter((e) => e.session === puppet.sessionId && e.kind === 'tool_call.decided');
  await tail.waitFor(() => decided().length > at);
  const event = decided()[at] as TailedEvent;
  return { event, payload: JSON.parse(event.payload ?? '{}') };
}

interface Payload {
  readonly opaque?: string;
  readonly inputBytes?: number;
}

describe.each(['enforce', 'observe'] as const)('in %s, a PreToolUse whose input', (mode) => {
  let puppet: Puppet;
  let calls = 0;
  beforeAll(async () => {
    puppet = await startPuppet(world, ['--mode', mode]);
    calls = 0;
  });
  afterAll(() => puppet?.end());

  it.each(unreadable)('%s', async (_, input, why) => {
    const answer = await puppet.hook('PreToolUse', input);
    const { event, payload } = await recorded(puppet, calls++);

    expect(answer.stdout).toBe('');
    if (mode === 'enforce') {
      expect(answer.exitCode).toBe(2);
      expect(answer.stderr).toMatch(/kontext: denied.*cannot be read/);
      expect(answer.stderr).toMatch(why);
    } else {
      expect([answer.exitCode, answer.stderr]).toEqual([0, '']);
    }
    expect(event.decision).toBe('deny');
    expect(payload.opaque).toMatch(why);
    expect(payload.inputBytes).toBe(input.length);
  });

  it('is sound is answered as if nothing had been', async () => {
    const answer = await puppet.hook('PreToolUse', bashCall('ls', 'sound'));
    const { event } = await recorded(puppet, calls++);

    expect([answer.exitCode, answer.stdout, answer.stderr]).toEqual([0, '', '']);
    expect(event).toMatchObject({ decision: 'allow', tool: 'Bash' });
  });
});

describe('a tool_response', () => {
  it.each([
    ['array', [{ type: 'text', text: 'one' }]],
    ['string', 'one'],
    ['object', { stdout: 'one' }],
    ['null', null],
  ])('that is %s is recorded by its shape and length, not by what it says', async (shape, response) => {
    const puppet = await startPuppet(world, ['--mode', 'enforce']);
    const call = bashCall('echo one', shape);

    await puppet.hook('PreToolUse', call);
    const answer = await puppet.hook('PostToolUse', { ...call, tool_response: response, duration_ms: 3 });
    await puppet.end();
    const completed = await tail.waitFor(
      (e) => e.session === puppet.sessionId && e.kind === 'tool_call.completed',
    );

    expect([answer.exitCode, answer.stdout, answer.stderr]).toEqual([0, '', '']);
    expect(JSON.parse(completed.payload ?? '{}').details).toMatchObject({
      responseType: shape,
      responseBytes: Buffer.byteLength(JSON.stringify(response)),
      durationMs: 3,
    });
  });
});

describe('with the hook server killed', () => {
  it('a call is denied in enforce, and what cannot block goes on', async () => {
    const puppet = await startPuppet(world, ['--mode', 'enforce']);
    puppet.command.kill('SIGKILL');
    await puppet.command.exited;

    const call = await puppet.hook('PreToolUse', bashCall('ls', 'gone'));
    const permission = await puppet.hook('PermissionRequest', bashCall('ls', 'gone'));
    const others = await Promise.all(
      ['Stop', 'UserPromptSubmit', 'PostToolUse', 'SessionEnd'].map((event) => puppet.hook(event, {})),
    );
    process.kill(puppet.pid);

    expect([call.exitCode, call.stdout, permission.exitCode]).toEqual([2, '', 2]);
    expect(call.stderr).toMatch(/this call is blocked.*end the agent and run `kontext start` again/);
    expect(others.map(({ exitCode, stdout }) => [exitCode, stdout])).toEqual(others.map(() => [0, '']));
  });

  it('a call runs in observe, and one line says what was missed', async () => {
    const puppet = await startPuppet(world, ['--mode', 'observe']);
    puppet.command.kill('SIGKILL');
    await puppet.command.exited;

    const call = await puppet.hook('PreToolUse', bashCall('ls', 'gone'));
    process.kill(puppet.pid);

    expect([call.exitCode, call.stdout, call.stderr]).toEqual([0, '', '']);
    const missed = readFileSync(`${puppet.socket}.missed`, 'utf8');
    expect(missed).toMatch(/^\d{4}-\d\d-\d\dT\S+ claude PreToolUse \S.*\n$/);
  });
});
