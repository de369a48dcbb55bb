import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { claude } from '../agents/claude.ts';
import type { HookRequest } from './frames.ts';
import { createSettingsGuard } from './settings-guard.ts';
import { call, handle, request, type Setup, setUp } from './test-handler.ts';

/** Handles all of them, and names what was noticed. */
async function noticed(hooks: readonly HookRequest[], setup: Setup = {}, ...missed: string[]) {
  const counts = new Map(missed.map((event) => [event, missed.filter((other) => other === event).length]));
  const watch = { failsOpen: setup.mode === 'observe', missed: () => counts, ...setup.more?.watch };
  const { handler, events } = setUp({ ...setup, more: { watch } });
  for (const hook of hooks) await handle(handler, hook);
  return events.filter(({ fields }) => fields.kind.startsWith('tamper.'));
}
const kindsOf = async (...given: Parameters<typeof noticed>) =>
  (await noticed(...given)).map(({ fields }) => [fields.kind, fields.toolUse]);

const pre = (more: object = {}) => call('PreToolUse', 'ls', more);
const post = (more: object = {}) => call('PostToolUse', 'ls', { tool_response: 'x', ...more });
const bySubagent = { agent_id: 'a1', agent_type: 'Explore' };
const subagent = (event: string, more: object = {}) =>
  request(event, { hook_event_name: event, session_id: 's', ...bySubagent, ...more });

describe('a result', () => {
  it.each(['PostToolUse', 'PostToolUseFailure'])(
    'by %s that was never proposed is noticed, once',
    async (event) => {
      const result = call(event, 'ls', { tool_response: 'x', error: 'x' });
      expect(await kindsOf([result, result])).toEqual([['tamper.unproposed_result', 'toolu_1']]);
    },
  );

  it('that was proposed is none of our business', async () => {
    expect(await kindsOf([pre(), post(), pre({ tool_use_id: 'b' }), post({ tool_use_id: 'b' })])).toEqual([]);
  });

  it('of a call that was denied is noticed; its failing is not', async () => {
    const denied = call('PreToolUse', 'rm -rf x');
    const ran = await noticed([denied, call('PostToolUse', 'rm -rf x', { tool_response: '' })]);
    expect(ran.map(({ fields }) => fields.kind)).toEqual(['tamper.unproposed_result']);
    expect(JSON.parse(ran[0]!.payload!)).toMatchObject({ facts: { denied: true } });
    expect(await kindsOf([denied, call('PostToolUseFailure', 'rm -rf x', { error: 'no' })])).toEqual([]);
  });

  it('of a call that observe would have denied is no surprise', async () => {
    const hooks = [call('PreToolUse', 'rm -rf x'), call('PostToolUse', 'rm -rf x', { tool_response: '' })];
    expect(await kindsOf(hooks, { mode: 'observe' })).toEqual([]);
  });

  it('with another input is noticed, with what ran instead', async () => {
    const found = await noticed([pre(), call('PostToolUse', 'curl evil', { tool_response: '' })]);
    expect(found.map(({ fields }) => fields.kind)).toEqual(['tamper.input_changed']);
    expect(JSON.parse(found[0]!.payload!)).toMatchObject({ input: { command: 'curl evil' } });
  });

  it('of a file that the user edited in the prompt is theirs; of another file it is not', async () => {
    const edit = (event: string, file_path: string, new_string: string) =>
      call(event, '', { tool_name: 'Edit', tool_input: { file_path, new_string }, tool_response: '' });
    const asked = [edit('PreToolUse', '/a', 'x'), edit('PermissionRequest', '/a', 'x')];
    expect(await kindsOf([...asked, edit('PostToolUse', '/a', 'y')])).toEqual([]);
    expect(await kindsOf([...asked, edit('PostToolUse', '/b', 'x')])).toHaveLength(1);
    expect(await kindsOf([asked[0]!, edit('PostToolUse', '/a', 'y')])).toHaveLength(1);
  });
});

describe('no false alarm', () => {
  const over = request('PreToolUse', '{}', { trueLength: 5_000_000 });

  it('is raised in observe for the result of a call that was over the cap, and for that one alone', async () => {
    expect(await kindsOf([over, post()], { mode: 'observe' })).toEqual([]);
    expect(await kindsOf([over, post(), post({ tool_use_id: 'b' })], { mode: 'observe' })).toEqual([
      ['tamper.unproposed_result', 'b'],
    ]);
  });

  it('but in enforce such a call was denied, and explains nothing', async () => {
    expect(await kindsOf([over, post()])).toHaveLength(1);
  });

  it('is raised for a result whose hook was missed, where hooks fail open', async () => {
    expect(await kindsOf([post()], { mode: 'observe' }, 'PreToolUse')).toEqual([]);
    expect(
      await kindsOf([post(), post({ tool_use_id: 'b' })], { mode: 'observe' }, 'PreToolUse'),
    ).toHaveLength(1);
    expect(await kindsOf([post()], { mode: 'observe' }, 'Stop')).toHaveLength(1);
    expect(await kindsOf([post()], { mode: 'enforce' }, 'PreToolUse')).toHaveLength(1);
  });

  it('is raised for results that are over the cap or cannot be read themselves', async () => {
    const unread = [request('PostToolUse', '{', {}), request('PostToolUse', '{}', { trueLength: 9_000_000 })];
    expect(await kindsOf([pre(), ...unread])).toEqual([]);
  });
});

describe('a sub-agent', () => {
  it.each([
    ['its start', subagent('SubagentStart')],
    ['a call of it', call('PreToolUse', 'ls', { ...bySubagent, tool_use_id: 'sub' })],
  ])('of which %s was seen may end', async (_name, hook) => {
    expect(await kindsOf([hook, subagent('SubagentStop')])).toEqual([]);
  });

  it('that ends and was never seen is noticed, once', async () => {
    expect(await kindsOf([subagent('SubagentStop'), subagent('SubagentStop')])).toEqual([
      ['tamper.subagent_unseen', null],
    ]);
  });

  it('that has a result and was never seen is noticed as that, not as a result', async () => {
    expect(await kindsOf([post(bySubagent)])).toEqual([['tamper.subagent_unseen', 'toolu_1']]);
    expect(await kindsOf([subagent('SubagentStart'), post(bySubagent)])).toEqual([
      ['tamper.unproposed_result', 'toolu_1'],
    ]);
  });

  it('of no kind, or whose start was missed, raises no alarm', async () => {
    expect(await kindsOf([subagent('SubagentStop', { agent_type: '' })])).toEqual([]);
    expect(await kindsOf([subagent('SubagentStop')], {}, 'SubagentStart')).toEqual([]);
  });
});

describe('a change of settings', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'kontext-settings-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const change = request('ConfigChange', { hook_event_name: 'ConfigChange', source: 'project_settings' });
  async function noticedAfter(before: object | null, after: string) {
    const file = join(folder, 'settings.json');
    if (before !== null) writeFileSync(file, JSON.stringify(before));
    const settings = createSettingsGuard([file, join(folder, 'none.json')], claude.guardedSettings);
    const watch = { failsOpen: false, missed: () => new Map(), settings };
    const { handler, events } = setUp({ more: { watch } });
    writeFileSync(file, after);
    await handle(handler, change);
    await handle(handler, change);
    return events.map(({ fields }) => fields.kind);
  }

  it.each([
    ['hooks', { hooks: { Stop: [] } }],
    ['disableAllHooks', { disableAllHooks: true }],
    ['env', { env: { LD_PRELOAD: 'x' } }],
    ['allowManagedHooksOnly', { allowManagedHooksOnly: true }],
    ['a mode that asks nobody', { permissions: { defaultMode: 'bypassPermissions' } }],
  ])('that touches %s is noticed, once', async (_name, after) => {
    const kinds = ['tamper.config_changed', 'agent.event', 'agent.event'];
    expect(await noticedAfter(null, JSON.stringify(after))).toEqual(kinds);
    expect(await noticedAfter(after, '{}')).toEqual(kinds);
  });

  it.each([
    ['the model', { model: 'x' }, '{"model":"y"}'],
    ['what the user allows for good', {}, '{"permissions":{"allow":["Bash(ls)"]}}'],
    ['the order of hooks that stay', { hooks: { A: [], B: [] } }, '{"hooks":{"B":[],"A":[]}}'],
    ['a file that cannot be read any more', { hooks: { A: [] } }, '{"hooks":'],
  ])('that touches %s is an event like others', async (_name, before, after) => {
    expect(await noticedAfter(before, after)).toEqual(['agent.event', 'agent.event']);
  });
});
