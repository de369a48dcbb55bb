import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ModelTurn, partState, toolResults } from '@kontext/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bash, type ClaudeStage, type RunningAgent, setClaudeStage } from './stage.ts';

const claude = partState('claude');
const bypass = ['-p', 'go', '--permission-mode', 'bypassPermissions'];
const conversation = [
  ...['-p', '--input-format', 'stream-json', '--output-format', 'stream-json', '--verbose'],
  ...['--permission-mode', 'bypassPermissions'],
];

describe.skipIf(!claude.available)(`the real Claude Code without its hook server ${claude.reason}`, () => {
  let stage: ClaudeStage;
  let running: RunningAgent;
  beforeAll(async () => {
    stage = await setClaudeStage();
  });
  afterAll(() => stage?.close());

  /** Ends `kontext start` by its pid, without a chance to clean up, and waits until it is gone. */
  const killServer = async (): Promise<void> => {
    const { child } = running;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
  };
  const afterTheKill = (turn: ModelTurn): ModelTurn => ({ ...turn, before: killServer });

  it('in enforce the next call is denied, and the stop takes no model call more', async () => {
    const project = stage.makeProject();
    const model = [
      bash('toolu_before', 'touch before.txt'),
      afterTheKill(bash('toolu_after', 'touch after.txt')),
      { text: 'I could not do it' },
    ];

    running = await stage.launch({ project, model, args: bypass });
    running.child.stdin?.end();
    const run = await running.ended;

    const { turns } = run.model;
    const made = ['before.txt', 'after.txt'].filter((name) => existsSync(join(project.dir, name)));
    expect(made).toEqual(['before.txt']);
    expect(toolResults(turns[2]!).get('toolu_after')).toMatchObject({
      isError: true,
      text: expect.stringContaining('kontext: this call is blocked'),
    });
    expect(turns).toHaveLength(3);
    expect(run.stdout.trim()).toBe('I could not do it');
  });

  it('in enforce every later call is denied, of every tool', async () => {
    const project = stage.makeProject();
    const file_path = join(project.dir, 'written.txt');
    const model = [
      afterTheKill(bash('toolu_bash', 'touch made.txt')),
      { toolUses: [{ id: 'toolu_write', name: 'Write', input: { file_path, content: 'x' } }] },
      {
        toolUses: [
          { id: 'toolu_read', name: 'Read', input: { file_path: join(project.victim, 'thesis.txt') } },
        ],
      },
    ];

    running = await stage.launch({ project, model, args: bypass });
    running.child.stdin?.end();
    const run = await running.ended;

    const results = run.model.turns.flatMap((turn) => [...toolResults(turn).values()]);
    expect(
      results.map(({ isError, text }) => [isError, text.includes('kontext: this call is blocked')]),
    ).toEqual([
      [true, true],
      [true, true],
      [true, true],
    ]);
    expect(['made.txt', 'written.txt'].filter((name) => existsSync(join(project.dir, name)))).toEqual([]);
  });

  it('in enforce the next prompt is still accepted', async () => {
    const project = stage.makeProject();
    // Of its own process, because a pipe of `kontext start` is closed with it.
    const prompts = spawn('cat', { stdio: ['pipe', 'pipe', 'ignore'] });
    const say = (content: string) => {
      const message = { role: 'user', content };
      prompts.stdin.write(`${JSON.stringify({ type: 'user', message })}\n`);
    };
    const model = [
      { text: 'first answer' },
      bash('toolu_after', 'touch after.txt'),
      { text: 'second answer' },
    ];

    running = await stage.launch({ project, model, args: conversation, stdin: prompts.stdout });
    prompts.stdout.destroy();
    say('first prompt');
    await expect.poll(() => running.stdout(), { timeout: 20_000 }).toContain('"type":"result"');
    await killServer();
    say('second prompt');
    prompts.stdin.end();
    const run = await running.ended;

    const { turns } = run.model;
    expect(JSON.stringify(turns[1]?.body?.messages?.at(-1))).toContain('second prompt');
    expect(toolResults(turns[2]!).get('toolu_after')?.text).toContain('kontext: this call is blocked');
    expect(turns).toHaveLength(3);
    expect(run.stdout).toContain('second answer');
    expect(existsSync(join(project.dir, 'after.txt'))).toBe(false);
  });

  it('in observe the next call runs, and leaves a line in the file of missed hooks', async () => {
    const project = stage.makeProject();
    const model = [afterTheKill(bash('toolu_after', 'touch after.txt')), { text: 'done' }];

    running = await stage.launch({ project, model, mode: 'observe', args: bypass });
    running.child.stdin?.end();
    const run = await running.ended;

    const runtimeDir = stage.world.home.env.XDG_RUNTIME_DIR ?? '';
    const missed = readdirSync(runtimeDir, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.missed'))
      .map((path) => readFileSync(join(runtimeDir, path), 'utf8'));
    expect(existsSync(join(project.dir, 'after.txt'))).toBe(true);
    expect(run.model.turns).toHaveLength(2);
    expect(missed.join('')).toMatch(/^\d{4}-\S+Z claude PreToolUse ECONNREFUSED$/m);
  });

  it('what the killed session had recorded is sent by the next one', async () => {
    const project = stage.makeProject();
    const model = [
      bash('toolu_recorded', 'echo recorded'),
      {
        text: 'done',
        before: async () => {
          await stage.world.backend.stop('SIGKILL');
          await killServer();
          await stage.world.restartBackend();
        },
      },
    ];

    running = await stage.launch({ project, model, args: bypass });
    running.child.stdin?.end();
    await running.ended;
    await stage.start({ project, model: [bash('toolu_next', 'sleep 1')], args: bypass });

    const completed = await stage.tail.waitFor(
      ({ kind, header }) => kind === 'tool_call.completed' && header.includes('toolu_recorded'),
    );
    const verified = await stage.world.cli(['audit', 'verify', completed.session]);
    expect(verified.exitCode).toBe(0);
  });
});
