/**
 * Hostile calls through decoding, reading, deciding and recording, with the real engine and reader: a decision by mode, a
 * reason, a record; never a crash.
 */
import { mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { maxPayloadBytes } from '@kontext/audit';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noFacts } from './call-facts.ts';
import { handle, request, setUp } from './test-handler.ts';

const tools = fc.oneof(
  fc.constantFrom(
    'Bash',
    'Monitor',
    'PowerShell',
    'Read',
    'Write',
    'Edit',
    'Glob',
    'Grep',
    'WebFetch',
    'Agent',
  ),
  fc.constantFrom('mcp__a__b', 'mcp____', 'mcp__unknown__x', 'Elicitation', '__proto__', 'constructor'),
  fc.string({ unit: 'binary', minLength: 1 }),
);
const members = ['command', 'file_path', 'path', 'pattern', 'url', 'notebook_path', 'ws', '__proto__'];
const inputs = fc.oneof(
  fc.jsonValue({ stringUnit: 'binary' }),
  fc.dictionary(fc.constantFrom(...members), fc.jsonValue({ stringUnit: 'binary', maxDepth: 2 })),
);
const events = fc.constantFrom(
  'PreToolUse',
  'PermissionRequest',
  'PostToolUse',
  'PostToolUseFailure',
  'Elicitation',
);

let root: string;
beforeAll(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'kontext-bad-')));
  symlinkSync('loop', join(root, 'loop'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Handles one event in a mode, and checks what must hold whatever it was. */
async function check(mode: 'observe' | 'enforce', event: string, value: unknown) {
  const facts = { ...noFacts, home: '/home/dev', projectRoot: root };
  const { handler, events: recorded } = setUp({ mode, more: { facts } });
  const [exitCode, stdout, stderr] = await handle(handler, request(event, value as object));
  const decides = ['PreToolUse', 'PermissionRequest'].includes(event);
  expect([0, 2]).toContain(exitCode);
  if (exitCode === 2) expect([decides, mode, stdout]).toEqual([true, 'enforce', '']);
  if (exitCode === 2) expect(stderr).toMatch(/^kontext: denied\P{Cc}*\n$/u);
  if (mode === 'observe') expect([exitCode, stdout, stderr]).toEqual([0, '', '']);
  expect(recorded.length).toBeGreaterThan(0);
  for (const { payload, fields } of recorded) {
    expect(payload).not.toBeNull();
    expect(Buffer.byteLength(payload ?? '')).toBeLessThanOrEqual(maxPayloadBytes);
    expect(fields.tool ?? 'x').toMatch(/^\P{Cc}{1,256}$/u);
  }
  return { exitCode, stderr, payload: JSON.parse(recorded[0]?.payload ?? '{}') };
}

const hook = (event: string, tool_name: unknown, tool_input: unknown, more: object = {}) => ({
  ...{ hook_event_name: event, session_id: 's', cwd: root, permission_mode: 'default', tool_use_id: 't' },
  ...{ tool_name, tool_input, tool_response: null, error: '', ...more },
});

describe('whatever a call is', () => {
  it('of every tool, with any input, it is decided or recorded in both modes', async () => {
    await fc.assert(
      fc.asyncProperty(events, tools, inputs, async (event, tool, input) => {
        const more = event === 'Elicitation' ? { mcp_server_name: tool } : {};
        await check('enforce', event, hook(event, tool, input, more));
        await check('observe', event, hook(event, tool, input, more));
      }),
      { numRuns: 150 },
    );
  });

  it('of any shape at all, it is decided or recorded in both modes', async () => {
    await fc.assert(
      fc.asyncProperty(events, fc.jsonValue({ stringUnit: 'binary' }), async (event, value) => {
        await check('enforce', event, value ?? {});
        await check('observe', event, value ?? {});
      }),
      { numRuns: 60 },
    );
  });
});

/** 64 KiB of texts somebody might try. */
const kib64 = (text: string): string => text.repeat(Math.ceil(65_536 / text.length)).slice(0, 65_536);
const hostile: [string, string][] = [
  ['NUL', kib64('a\0')],
  ['newlines', kib64('rm x\n')],
  ['quotes that never close', kib64('"\'`$(')],
  ['nested substitutions', kib64('$(echo ')],
  ['nested braces', kib64('{a,')],
  ['lone surrogates', kib64('\ud800')],
  ['text that changes its direction', kib64('\u202ecod\u0435')],
  ['wrappers', kib64('sudo env nohup ')],
  ['heredocs', kib64('cat <<A\n')],
  ['pipes', kib64('a|')],
  ['escapes', kib64('\\')],
  ['a path upwards', kib64('../')],
];

describe('64 KiB of', () => {
  it.each(hostile)('%s in each string are decided, with a reason', async (_name, text) => {
    for (const [tool, input] of [
      ['Bash', { command: text, description: text }],
      ['Write', { file_path: `/${text}`, content: text }],
      ['WebFetch', { url: `https://${text}` }],
      ['mcp__a__b', { command: text, [text]: text }],
      [text, { command: text }],
    ] as const) {
      const { exitCode, stderr } = await check('enforce', 'PreToolUse', hook('PreToolUse', tool, input));
      if (exitCode === 2) expect(stderr.length).toBeGreaterThan('kontext: denied: '.length);
    }
    await check('enforce', 'PreToolUse', hook('PreToolUse', 'Bash', { command: 'ls' }, { cwd: `/${text}` }));
    await check(
      'enforce',
      'PreToolUse',
      hook('PreToolUse', 'Bash', { command: 'ls' }, { permission_mode: text }),
    );
  });
});

describe('a command', () => {
  it.each([
    ['of words', `echo ${'a '.repeat(500_000)}`],
    ['of commands', 'a;'.repeat(500_000)],
    ['of open brackets', '('.repeat(1_000_000)],
    ['of open substitutions', '$('.repeat(500_000)],
    ['of redirections', '>a'.repeat(500_000)],
  ])('of almost 1 MiB %s is decided and recorded, cut', async (_name, command) => {
    const { payload } = await check('enforce', 'PreToolUse', hook('PreToolUse', 'Bash', { command }));
    expect(payload.call).toHaveProperty('clipped');
  });

  it('of more than 1 MiB is denied in enforce and recorded in observe', async () => {
    const value = hook('PreToolUse', 'Bash', { command: 'a'.repeat(100) });
    for (const [mode, code] of [
      ['enforce', 2],
      ['observe', 0],
    ] as const) {
      const { handler, events: recorded } = setUp({ mode });
      const [exitCode] = await handle(handler, request('PreToolUse', value, { trueLength: 2_000_000 }));
      expect([exitCode, recorded[0]?.fields.decision]).toEqual([code, mode === 'enforce' ? 'deny' : 'allow']);
    }
  });
});

describe('a path', () => {
  it('through a loop of links makes the call opaque and is decided', async () => {
    for (const [tool, input] of [
      ['Read', { file_path: join(root, 'loop/x') }],
      ['Bash', { command: `cat ${join(root, 'loop/x')} > loop` }],
    ] as const) {
      const { payload } = await check('enforce', 'PreToolUse', hook('PreToolUse', tool, input));
      expect(payload.call.tool).toBe(tool);
    }
  });
});
