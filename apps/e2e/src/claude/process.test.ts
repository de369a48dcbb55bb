import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { partState } from '@kontext/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bash, type ClaudeStage, setClaudeStage } from './stage.ts';

const claude = partState('claude');
const bypass = ['-p', 'go', '--permission-mode', 'bypassPermissions'];

describe.skipIf(!claude.available)(`the process of the real Claude Code ${claude.reason}`, () => {
  let stage: ClaudeStage;
  beforeAll(async () => {
    stage = await setClaudeStage();
  });
  afterAll(() => stage?.close());

  it('is passed its own arguments, standard input and output, and its exit code is ours', async () => {
    const project = stage.makeProject();

    const running = await stage.launch({ project, args: ['-p'], model: [{ text: 'an answer' }] });
    running.child.stdin?.end('the prompt comes from standard input');
    const run = await running.ended;

    expect({ exitCode: run.exitCode, stdout: run.stdout }).toEqual({ exitCode: 0, stdout: 'an answer\n' });
    expect(JSON.stringify(run.model.turns[0]?.body?.messages)).toContain(
      'the prompt comes from standard input',
    );
  });

  it.each([
    ['the model refuses', ['-p', 'go'], () => ({ status: 400, text: 'refused' })],
    ['an argument is unknown', ['--no-such-flag'], []],
  ])('ends with its own code 1 when %s, and the session ends with it', async (_name, args, model) => {
    const project = stage.makeProject();

    const run = await stage.start({ project, args, model });

    const events = await stage.eventsOf(run);
    expect(run.exitCode).toBe(1);
    expect(events.at(-1)?.kind).toBe('session.ended');
  });

  it('SIGTERM to kontext start ends agent and session, and the call it cut is on record', async () => {
    const project = stage.makeProject();
    const command = 'echo $PPID > agent.pid; echo $$ > shell.pid; sleep 300';
    const pidOf = (name: string) => Number(readFileSync(join(project.dir, name), 'utf8'));

    const running = await stage.launch({ project, args: bypass, model: [bash('toolu_long', command)] });
    running.child.stdin?.end();
    await expect.poll(() => existsSync(join(project.dir, 'shell.pid')), { timeout: 20_000 }).toBe(true);
    running.child.kill('SIGTERM');
    const run = await running.ended;

    const events = await stage.eventsOf(run);
    expect(run.exitCode).toBe(143);
    expect([pidOf('agent.pid'), pidOf('shell.pid')].filter(isAlive)).toEqual([]);
    expect(events.map(({ kind, header }) => [kind, header.toolUse])).toContainEqual([
      'tool_call.decided',
      'toolu_long',
    ]);
    expect(events.at(-1)?.kind).toBe('session.ended');
  });

  it('leaves no socket, key or settings file behind', async () => {
    const project = stage.makeProject();

    const run = await stage.start({
      project,
      args: bypass,
      model: [bash('toolu_ls', 'dirname "$KONTEXT_SOCKET" > directory; ls "$(cat directory)" > listing')],
    });

    const directory = readFileSync(join(project.dir, 'directory'), 'utf8').trim();
    expect(run.exitCode).toBe(0);
    expect(readFileSync(join(project.dir, 'listing'), 'utf8').trim().split('\n').sort()).toEqual([
      's',
      's.key',
      'settings.json',
      'writer.json',
    ]);
    expect(existsSync(directory)).toBe(false);
  });
});

/** Whether a process of this id is there. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
