import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { partState } from '@kontext/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bash, type ClaudeStage, setClaudeStage, toolStory } from './stage.ts';

const claude = partState('claude');
const bypass = ['-p', 'go', '--permission-mode', 'bypassPermissions'];

describe.skipIf(!claude.available)(`the record of the real Claude Code ${claude.reason}`, () => {
  let stage: ClaudeStage;
  beforeAll(async () => {
    stage = await setClaudeStage();
  });
  afterAll(() => stage?.close());

  it('says of each call what was attempted, how it ended, whether it was allowed, and who, in order', async () => {
    const project = stage.makeProject();
    const model = [
      bash('toolu_1', 'echo one'),
      bash('toolu_2', 'false'),
      bash('toolu_3', 'rm -rf victim .git'),
      {
        toolUses: [
          { id: 'toolu_4', name: 'Write', input: { file_path: join(project.dir, 'a.txt'), content: 'text' } },
        ],
      },
    ];

    const run = await stage.start({ project, model, args: bypass });

    const events = await stage.eventsOf(run);
    const verified = await stage.world.cli(['audit', 'verify', run.sessionId]);
    expect(toolStory(events)).toEqual([
      'tool_call.decided toolu_1 allow',
      'tool_call.completed toolu_1',
      'tool_call.decided toolu_2 allow',
      'tool_call.failed toolu_2',
      'tool_call.decided toolu_3 deny',
      'tool_call.decided toolu_4 allow',
      'tool_call.completed toolu_4',
    ]);
    const decided = events.filter(({ kind }) => kind === 'tool_call.decided');
    expect(decided.map(({ tool, payload }) => [tool, (payload.call as { input: unknown }).input])).toEqual([
      ['Bash', expect.objectContaining({ command: 'echo one' })],
      ['Bash', expect.objectContaining({ command: 'false' })],
      ['Bash', expect.objectContaining({ command: 'rm -rf victim .git' })],
      ['Write', { file_path: join(project.dir, 'a.txt'), content: 'text' }],
    ]);
    expect({ exitCode: verified.exitCode, said: verified.stderr }).toEqual({
      exitCode: 0,
      said: expect.stringContaining('nothing is missing or changed'),
    });
  });

  it('names user, organisation, session and agent in every event of the session', async () => {
    const project = stage.makeProject();

    const run = await stage.start({ project, args: bypass, model: [bash('toolu_1', 'echo one')] });

    const events = await stage.eventsOf(run);
    const who = new Set(
      events.map(({ header, userName }) =>
        [header.user, userName, header.org, header.session, header.agent].join(' '),
      ),
    );
    expect([...who]).toEqual([
      expect.stringMatching(new RegExp(`^usr_\\S+ owner org_\\S+ ${run.sessionId} claude$`)),
    ]);
  });

  it('keeps the order of the client stream without a gap, from start to stop of the agent', async () => {
    const project = stage.makeProject();

    const run = await stage.start({ project, args: bypass, model: [bash('toolu_1', 'echo one')] });

    const events = await stage.eventsOf(run);
    const stream = events.find(({ kind }) => kind === 'tool_call.decided')?.streamId;
    const inStream = events.filter(({ streamId }) => streamId === stream);
    const names = inStream.map(({ kind, payload }) => (kind === 'agent.event' ? payload.event : kind));
    expect(inStream.map(({ seq }) => seq)).toEqual(inStream.map((_event, index) => index + 1));
    expect(names).toEqual([
      'launch',
      'SessionStart',
      'UserPromptSubmit',
      'tool_call.decided',
      'tool_call.completed',
      'Stop',
      'SessionEnd',
    ]);
  });

  it('holds neither the prompt, nor what a tool printed, nor the last answer', async () => {
    const project = stage.makeProject();
    const words = { prompt: 'PROMPT-8151', printed: 'PRINTED-4913', answer: 'ANSWER-2207' };
    const model = [bash('toolu_1', 'echo PRINTED-$((4900+13))'), { text: words.answer }];

    const run = await stage.start({
      project,
      model,
      args: ['-p', words.prompt, '--permission-mode', 'bypassPermissions'],
    });

    const events = await stage.eventsOf(run);
    const recorded = JSON.stringify(events);
    expect(run.stdout).toContain(words.answer);
    expect(Object.values(words).filter((word) => recorded.includes(word))).toEqual([]);
  });

  it('shows the attempt in the tail while that very call still runs', async () => {
    const project = stage.makeProject();
    const seen = join(project.dir, 'seen');
    const command = `for i in $(seq 600); do test -e '${seen}' && exit 0; sleep 0.05; done; exit 1`;
    const running = await stage.launch({ project, args: bypass, model: [bash('toolu_waits', command)] });
    running.child.stdin?.end();

    const attempt = await stage.tail.waitFor(
      ({ kind, header }) => kind === 'tool_call.decided' && header.includes('toolu_waits'),
    );
    const outcomesThen = stage.tail.events.filter(
      ({ kind, header }) => kind !== 'tool_call.decided' && header.includes('toolu_waits'),
    );
    writeFileSync(seen, '');
    const run = await running.ended;

    const events = await stage.eventsOf(run);
    expect(attempt.payload).toContain('sleep 0.05');
    expect(outcomesThen).toEqual([]);
    expect(toolStory(events)).toEqual([
      'tool_call.decided toolu_waits allow',
      'tool_call.completed toolu_waits',
    ]);
  });
});
