import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { partState, toolResults } from '@kontext/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bash, type ClaudeStage, setClaudeStage, toolStory } from './stage.ts';

const claude = partState('claude');
const bypass = ['-p', 'go', '--permission-mode', 'bypassPermissions'];

describe.skipIf(!claude.available)(`tool calls of the real Claude Code ${claude.reason}`, () => {
  let stage: ClaudeStage;
  beforeAll(async () => {
    stage = await setClaudeStage();
  });
  afterAll(() => stage?.close());

  it.each([
    ['in default mode', ['-p', 'go']],
    ['in default mode, although the user allowed every shell call', ['-p', 'go', '--allowedTools', 'Bash']],
    ['under bypassPermissions', bypass],
    ['under --dangerously-skip-permissions', ['-p', 'go', '--dangerously-skip-permissions']],
  ])('a forbidden deletion is denied in enforce and the folder survives, %s', async (_name, args) => {
    const project = stage.makeProject();

    const run = await stage.start({ project, args, model: [bash('toolu_rm', 'rm -rf victim .git')] });

    const events = await stage.eventsOf(run);
    const result = toolResults(run.model.turns[1]!).get('toolu_rm');
    expect(existsSync(join(project.victim, 'thesis.txt'))).toBe(true);
    expect(result?.isError).toBe(true);
    expect(result?.text).toContain('kontext: denied by rule starter.destructive-delete');
    expect(toolStory(events)).toEqual(['tool_call.decided toolu_rm deny']);
    expect(events.find(({ kind }) => kind === 'tool_call.decided')).toMatchObject({
      command: 'rm -rf victim .git',
      header: { mode: 'enforce', rule: 'starter.destructive-delete' },
    });
  });

  it('a forbidden deletion by the Monitor tool is denied like one by Bash', async () => {
    const project = stage.makeProject();
    const input = {
      command: 'rm -rf victim .git',
      description: 'watch',
      timeout_ms: 5000,
      persistent: false,
    };

    const run = await stage.start({
      project,
      args: bypass,
      model: [{ toolUses: [{ id: 'toolu_watch', name: 'Monitor', input }] }],
    });

    const events = await stage.eventsOf(run);
    expect(existsSync(project.victim)).toBe(true);
    expect(toolStory(events)).toEqual(['tool_call.decided toolu_watch deny']);
  });

  it('a forbidden deletion runs in observe and is recorded as would-deny', async () => {
    const project = stage.makeProject();

    const run = await stage.start({
      project,
      mode: 'observe',
      args: bypass,
      model: [bash('toolu_rm', 'rm -rf victim .git')],
    });

    const events = await stage.eventsOf(run);
    expect(existsSync(project.victim)).toBe(false);
    expect(toolStory(events)).toEqual(['tool_call.decided toolu_rm deny', 'tool_call.completed toolu_rm']);
    expect(events.find(({ kind }) => kind === 'tool_call.decided')).toMatchObject({
      header: { mode: 'observe', rule: 'starter.destructive-delete' },
    });
    expect(run.stderr).toContain('1 would be denied');
  });

  it.each(['observe', 'enforce'] as const)(
    'in %s the permission prompt of Claude Code is not silenced by a call nothing objects to',
    async (mode) => {
      const project = stage.makeProject();

      const run = await stage.start({ project, mode, model: [bash('toolu_touch', 'touch made.txt')] });

      const events = await stage.eventsOf(run);
      const result = toolResults(run.model.turns[1]!).get('toolu_touch');
      expect(existsSync(join(project.dir, 'made.txt'))).toBe(false);
      expect(result?.isError).toBe(true);
      expect(result?.text).not.toContain('kontext');
      expect(toolStory(events)[0]).toBe('tool_call.decided toolu_touch allow');
      expect(events.map(({ kind }) => kind)).toContain('approval.requested');
      expect(events.map(({ kind }) => kind)).not.toContain('tool_call.completed');
    },
  );

  it('a failing command arrives through PostToolUseFailure', async () => {
    const project = stage.makeProject();

    const run = await stage.start({
      project,
      args: bypass,
      model: [bash('toolu_cat', 'echo before it fails; exit 7')],
    });

    const events = await stage.eventsOf(run);
    expect(toolStory(events)).toEqual(['tool_call.decided toolu_cat allow', 'tool_call.failed toolu_cat']);
    expect(events.find(({ kind }) => kind === 'tool_call.failed')?.payload).toMatchObject({
      event: 'PostToolUseFailure',
      details: { outcome: 'failed', isInterrupt: false },
    });
  });
});
