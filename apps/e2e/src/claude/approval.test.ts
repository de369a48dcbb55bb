/**
 * A rule that asks, from the real Claude Code to a person at a browser and back: who is asked, what each answer does to the call,
 * and what of it stands in the record.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  approveInBrowser,
  type CallApproval,
  type ModelScript,
  partState,
  toolResults,
} from '@kontext/testkit';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { runConfirmed } from '../run-confirmed.ts';
import {
  bash,
  type ClaudeStage,
  type FinishedAgent,
  type Project,
  type RecordedEvent,
  type RunningAgent,
  type StartOptions,
  setClaudeStage,
} from './stage.ts';
import { startAtTerminal, type TerminalAgent } from './terminal.ts';

const claude = partState('claude');

/** Of the user's own directory: only they can be asked. */
const ownRule = `
@id("ask-touch")
@effect("ask")
@reason("touching wants a look")
forbid (principal, action == Action::"tool_call", resource == Command::"touch");
`;
/** Of the organisation. */
const publishedRules = `
@id("acme.release")
@effect("ask")
@approver("release-managers")
@reason("a release wants a manager")
forbid (principal, action == Action::"tool_call", resource == Command::"mkdir")
when { resource.args.contains("release") };

@id("acme.production")
@effect("ask")
@approver("owner")
@four_eyes("yes")
@reason("production wants four eyes")
forbid (principal, action == Action::"tool_call", resource == Command::"mkdir")
when { resource.args.contains("production") };
`;

interface Question {
  readonly id: string;
  readonly url: string;
}

describe.skipIf(!claude.available)(`a person decides a call of the real Claude Code ${claude.reason}`, () => {
  let stage: ClaudeStage;
  let project: Project;
  beforeAll(async () => {
    const ann = { name: 'ann', role: 'owner', groups: ['release-managers'] };
    stage = await setClaudeStage({ people: [ann] });
    const { world } = stage;
    const folder = join(world.home.env.XDG_CONFIG_HOME ?? '', 'kontext/policy');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'mine.cedar'), ownRule);
    mkdirSync(join(world.home.workDir, 'policies'));
    writeFileSync(join(world.home.workDir, 'policies/acme.cedar'), publishedRules);
    for (const command of [
      ['push', 'policies'],
      ['publish', '2', '--mode', 'observe'],
    ]) {
      const { exitCode, stderr } = await runConfirmed(world, ['policy', ...command, '--reason', 'a story']);
      expect(exitCode, stderr).toBe(0);
    }
  });
  afterAll(() => stage?.close());

  const made = (name: string): boolean => existsSync(join(project.dir, name));
  const launch = async (options: Omit<StartOptions, 'project'>): Promise<RunningAgent> => {
    project = stage.makeProject();
    const running = await stage.launch({ project, ...options });
    running.child.stdin?.end();
    return running;
  };
  /** The question about a call, once the backend has it. */
  const questionAbout = async (toolUse: string): Promise<Question> => {
    const { header } = await stage.tail.waitFor(
      ({ kind, header: text }) =>
        kind === 'approval.requested' && text.includes(`"${toolUse}"`) && approvalOf(JSON.parse(text)) !== '',
      40_000,
    );
    const id = approvalOf(JSON.parse(header));
    return { id, url: `${stage.world.apiUrl}/approvals/${id}` };
  };
  const decide = (
    { url }: Question,
    name: string,
    answer: Pick<CallApproval, 'decision' | 'reason'> = {},
  ): Promise<unknown> => {
    const login = name === 'owner' ? stage.world : stage.world.people.get(name);
    return approveInBrowser({ url, account: name, passcode: login?.passcode ?? '', ...answer });
  };
  const resultOf = (run: FinishedAgent, id: string) =>
    run.model.turns.map((turn) => toolResults(turn).get(id)).find((result) => result !== undefined);

  it('the call waits as long as nobody answers, then runs without a prompt of Claude Code', async () => {
    const running = await launch({ model: [bash('toolu_wait', 'touch made.txt')] });
    const question = await questionAbout('toolu_wait');
    // Longer than a hook client waits for a server that says nothing.
    await sleep(4000);
    const madeThen = made('made.txt');
    await decide(question, 'owner');
    const run = await running.ended;

    const events = await stage.eventsOf(run);
    expect(madeThen).toBe(false);
    expect(made('made.txt')).toBe(true);
    expect(resultOf(run, 'toolu_wait')?.isError).toBe(false);
    // The client's stream and the server's are each in order.
    expect(storyOf(events, 'tool_call.')).toEqual([
      ['tool_call.proposed', 'ask', ''],
      ['tool_call.decided', 'allow', question.id],
      ['tool_call.completed', '', ''],
    ]);
    expect(storyOf(events, 'approval.')).toEqual([
      ['approval.requested', 'ask', question.id],
      ['approval.decided', 'allow', question.id],
      ['approval.used', 'allow', question.id],
    ]);
    expect(events.find(({ kind }) => kind === 'tool_call.decided')).toMatchObject({
      header: { rule: 'local.ask-touch', mode: 'enforce' },
      payload: { asked: 'approved', reason: 'touching wants a look' },
    });
  });

  it('what the person says who denies it reaches the agent, and a retry is denied without asking', async () => {
    const running = await launch({
      model: [bash('toolu_no_1', 'touch made.txt'), bash('toolu_no_2', 'touch made.txt')],
    });
    const question = await questionAbout('toolu_no_1');
    await decide(question, 'owner', { decision: 'deny', reason: 'write it by hand' });
    const run = await running.ended;

    const events = await stage.eventsOf(run);
    expect(made('made.txt')).toBe(false);
    for (const id of ['toolu_no_1', 'toolu_no_2']) {
      expect(resultOf(run, id)).toMatchObject({ isError: true });
      expect(resultOf(run, id)?.text).toContain(
        'kontext: denied by rule local.ask-touch: touching wants a look; a person decided against it: write it by hand',
      );
    }
    expect(storyOf(events, 'tool_call.decided')).toEqual([
      ['tool_call.decided', 'deny', question.id],
      ['tool_call.decided', 'deny', question.id],
    ]);
    expect(storyOf(events, 'approval.').map(([kind]) => kind)).toEqual([
      'approval.requested',
      'approval.decided',
    ]);
  });

  it('where nobody answers it is denied with a link; approved later, the same call passes once', async () => {
    let question: Question = { id: '', url: '' };
    const running = await launch({
      env: { KONTEXT_HOOK_TIMEOUT_MS: '4000' },
      model: [
        bash('toolu_late_1', 'touch made.txt'),
        {
          ...bash('toolu_late_2', 'touch made.txt'),
          before: async () => {
            question = await questionAbout('toolu_late_1');
            await decide(question, 'owner');
          },
        },
        bash('toolu_late_3', 'touch made.txt'),
      ],
    });
    const run = await running.ended;

    const events = await stage.eventsOf(run);
    expect(resultOf(run, 'toolu_late_1')?.text).toContain(
      `approval ${question.id} is open at ${question.url}; approved? try again`,
    );
    expect(resultOf(run, 'toolu_late_2')?.isError).toBe(false);
    expect(made('made.txt')).toBe(true);
    expect(resultOf(run, 'toolu_late_3')?.text).toMatch(/approval apr_\S+ is open at/);
    expect(resultOf(run, 'toolu_late_3')?.text).not.toContain(question.id);
    expect(storyOf(events, 'tool_call.decided').slice(0, 2)).toEqual([
      ['tool_call.decided', 'deny', question.id],
      ['tool_call.decided', 'allow', question.id],
    ]);
  });

  it.each([
    ['a group the user is not in', 'mkdir release', 'acme.release'],
    ['a role the user has, with four eyes', 'mkdir production', 'acme.production'],
  ])(
    "a rule that names %s is not for the user's own answer, but for another's",
    async (_who, command, rule) => {
      const toolUse = `toolu_${rule}`;
      const running = await launch({ model: [bash(toolUse, command)] });
      const question = await questionAbout(toolUse);
      const own = await decide(question, 'owner').catch((error: Error) => error.message);
      const stillThere = await stage.world.cli(['requests', 'ls', '--all', '--json']);
      await decide(question, 'ann');
      const run = await running.ended;

      const events = await stage.eventsOf(run);
      expect(own).toMatch(/^deciding ended with 404 /);
      expect(JSON.parse(stillThere.stdout)).toContainEqual(
        expect.objectContaining({ id: question.id, state: 'pending', mineToDecide: false }),
      );
      expect(made(command.split(' ')[1] ?? '')).toBe(true);
      expect(storyOf(events, 'tool_call.decided')).toEqual([['tool_call.decided', 'allow', question.id]]);
      expect(events.find(({ kind }) => kind === 'approval.decided')).toMatchObject({
        userName: 'ann',
        header: { rule },
      });
    },
  );

  it('allowed for the session, calls of that kind run without another question', async () => {
    const running = await launch({
      model: [
        bash('toolu_kind_1', 'touch one.txt'),
        bash('toolu_kind_2', 'touch two.txt'),
        { toolUses: [...bash('toolu_kind_3', 'touch three.txt').toolUses] },
      ],
    });
    const question = await questionAbout('toolu_kind_1');
    await decide(question, 'owner', { decision: 'session' });
    const run = await running.ended;

    const events = await stage.eventsOf(run);
    expect(['one.txt', 'two.txt', 'three.txt'].map(made)).toEqual([true, true, true]);
    expect(storyOf(events, 'approval.requested')).toHaveLength(1);
    expect(storyOf(events, 'tool_call.decided')).toEqual(
      Array(3).fill(['tool_call.decided', 'allow', question.id]),
    );
  });

  describe('with the screen of Claude Code up', () => {
    const askedBy = { asked: 'the user, by the agent', reason: 'touching wants a look' };

    const agents: TerminalAgent[] = [];
    // One that a failed test left behind would wait for keys for ever.
    afterEach(() => {
      for (const { screen } of agents.splice(0)) screen.kill('SIGTERM');
    });
    const sitDown = async (script: ModelScript, args: readonly string[] = []): Promise<TerminalAgent> => {
      const agent = await startAtTerminal(stage, project, script, args);
      agents.push(agent);
      return agent;
    };
    /** The client's own question is the only thing that shows the rule; then it listens to keys. */
    const seen = async ({ screen }: TerminalAgent): Promise<void> => {
      await screen.waitFor(/local\.ask-touch/);
      await sleep(500);
    };

    it.each([
      ['as it starts', []],
      ['in default mode', ['--permission-mode', 'default']],
    ])('the client asks its user itself, %s: yes lets the call run', async (_name, args) => {
      project = stage.makeProject();
      const script = [bash('toolu_yes', 'touch made.txt'), { text: 'ALL-DONE' }];
      const agent = await sitDown(script, args);
      await seen(agent);
      const madeThen = made('made.txt');
      agent.screen.type('\r');
      await agent.screen.waitFor(/ALL-DONE/);
      const run = await agent.leave();

      const events = await stage.eventsOf(run);
      expect([madeThen, made('made.txt')]).toEqual([false, true]);
      expect(storyOf(events, 'tool_call.')).toEqual([
        ['tool_call.decided', 'ask', ''],
        ['tool_call.completed', '', ''],
      ]);
      expect(events.find(({ kind }) => kind === 'tool_call.decided')?.payload).toMatchObject(askedBy);
    });

    it('no keeps it from running, and nobody is asked at a browser', async () => {
      project = stage.makeProject();
      const agent = await sitDown([bash('toolu_no', 'touch made.txt')]);
      await seen(agent);
      agent.screen.type('\u001b');
      await agent.screen.waitFor(/Interrupted|rejected|declined/);
      const run = await agent.leave();

      const events = await stage.eventsOf(run);
      expect(made('made.txt')).toBe(false);
      expect(storyOf(events, 'tool_call.')).toEqual([['tool_call.decided', 'ask', '']]);
      expect(storyOf(events, 'approval.').filter(([, , approval]) => approval !== '')).toEqual([]);
    });

    it('a rule that names an approver is for the browser all the same', async () => {
      project = stage.makeProject();
      const script = [bash('toolu_named', 'mkdir release'), { text: 'ALL-DONE' }];
      const agent = await sitDown(script);
      const question = await questionAbout('toolu_named');
      await decide(question, 'ann');
      await agent.screen.waitFor(/ALL-DONE/);
      const run = await agent.leave();

      const events = await stage.eventsOf(run);
      expect(made('release')).toBe(true);
      expect(run.stdout).not.toContain('acme.release');
      expect(storyOf(events, 'tool_call.decided')).toEqual([['tool_call.decided', 'allow', question.id]]);
    });
  });

  it('in observe nothing waits, and the record says what would have been asked', async () => {
    project = stage.makeProject();

    const run = await stage.start({
      ...{ project, mode: 'observe', args: ['-p', 'go', '--permission-mode', 'bypassPermissions'] },
      model: [bash('toolu_observed', 'touch made.txt')],
    });

    const events = await stage.eventsOf(run);
    expect(made('made.txt')).toBe(true);
    expect(storyOf(events, '')).toContainEqual(['tool_call.decided', 'ask', '']);
    expect(storyOf(events, 'approval.')).toEqual([]);
    expect(storyOf(events, 'tool_call.').map(([kind]) => kind)).toEqual([
      'tool_call.decided',
      'tool_call.completed',
    ]);
  });
});

const approvalOf = (header: { readonly lineage?: unknown }): string =>
  (header.lineage as { readonly approval?: string } | undefined)?.approval ?? '';

/** Kind, decision and approval of the events of a kind. */
const storyOf = (events: readonly RecordedEvent[], kinds: string) =>
  events
    .filter(({ kind }) => kind.startsWith(kinds))
    .map(({ kind, decision, header }) => [kind, decision, approvalOf(header)]);
