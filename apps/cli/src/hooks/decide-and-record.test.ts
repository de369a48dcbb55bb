import { hasHidden, headerLimits } from '@kontext/audit';
import type { PolicyEngine } from '@kontext/policy';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HookRequest } from './frames.ts';
import { createRecordRedactor } from './payload-text.ts';
import { call, handle, nothing, request, said, setUp } from './test-handler.ts';

/** Hidden characters, secrets, and enough between them to be cut anywhere; put together, so that no scanner takes it for a leak. */
const hostileName = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 8 }),
      fc.constantFrom(
        '\0',
        '\u202e',
        '\u200b',
        '\u2028',
        '\ufeff',
        '\ud800',
        '\udc00',
        '\u{e0041}',
        '\ufe0f',
        ' ',
      ),
      fc.constantFrom(
        `ghp_${'q7Xk2Lm9Rt4V'.repeat(3)}`,
        'token=',
        'password: hunter2x',
        '{"api_key":"',
        '"}',
      ),
      fc.constantFrom('Bearer abcDEF123456789xyz', 'https://u:p4ss0rd@h/x', '--password ', 'mcp__x__y'),
      fc.integer({ min: 200, max: 256 }).map((length) => 'x'.repeat(length)),
    ),
    { maxLength: 8 },
  )
  .map((parts) => parts.join(''));

describe('a tool call', () => {
  it('that no rule forbids is let through in silence and recorded', async () => {
    const { handler, events } = setUp();
    expect(await handle(handler, call('PreToolUse', 'ls'))).toEqual(nothing);
    expect(events[0]?.fields).toEqual({
      kind: 'tool_call.decided',
      tool: 'Bash',
      toolUse: 'toolu_1',
      decision: 'allow',
      rule: null,
      policyVersion: 7,
      mode: 'enforce',
    });
    expect(JSON.parse(events[0]!.payload!).call).toMatchObject({
      schema: 2,
      event: 'PreToolUse',
      command: 'ls',
      opaque: [],
      user: 'usr_1',
    });
  });

  it('that a rule forbids is denied in enforce by exit 2, naming the rule', async () => {
    const { handler, events } = setUp();
    const [exitCode, stdout, stderr] = await handle(handler, call('PreToolUse', 'rm -rf victim'));
    expect([exitCode, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^kontext: denied by rule test\.delete: \S/);
    expect(events[0]?.fields).toMatchObject({
      decision: 'deny',
      rule: 'test.delete',
      mode: 'enforce',
    });
    expect(handler.counts).toEqual({ toolCalls: 1, denied: 1, wouldDeny: 0 });
  });

  it('that a rule forbids runs in observe, and is recorded as would-deny', async () => {
    const { handler, events } = setUp({ mode: 'observe' });
    expect(await handle(handler, call('PreToolUse', 'rm -rf victim'))).toEqual(nothing);
    expect(events[0]?.fields).toMatchObject({ decision: 'deny', mode: 'observe' });
    expect(handler.counts).toEqual({ toolCalls: 1, denied: 0, wouldDeny: 1 });
  });

  it('is decided in enforce when this machine raises the mode, never lowered by it', async () => {
    expect(
      (await handle(setUp({ mode: 'observe', floor: 'enforce' }).handler, call('PreToolUse', 'rm -rf v')))[0],
    ).toBe(2);
    expect(
      (await handle(setUp({ mode: 'enforce', floor: 'observe' }).handler, call('PreToolUse', 'rm -rf v')))[0],
    ).toBe(2);
  });

  it('is decided, intended, answered and then recorded', async () => {
    const { handler, log } = setUp();
    const reply = await handler.handleHook(call('PreToolUse', 'ls'));
    log.push(`answer ${reply.exitCode}`);
    await new Promise((resolve) => setImmediate(resolve));
    expect(log).toEqual(['intent tool_call.decided', 'answer 0', 'record tool_call.decided']);
  });

  it('is recorded in the order of its intent when several come at once', async () => {
    const { handler, events } = setUp();
    const hooks = Array.from({ length: 50 }, (_, index) => call('PreToolUse', `echo ${index}`));
    await Promise.all(hooks.map((hook) => handler.handleHook(hook)));
    handler.settle();
    const commands = events.map(({ payload }) => JSON.parse(payload!).call.command);
    expect(commands).toEqual(hooks.map((_, index) => `echo ${index}`));
  });

  it('never shows an injected secret to policy or record', async () => {
    const secret = 'sk_live_0123456789abcdef';
    const { handler, events } = setUp({ secrets: [secret], mode: 'observe' });
    await handle(
      handler,
      call('PreToolUse', `curl -H "Authorization: ${secret}" x`, { [secret]: 1, cwd: `/w/${secret}` }),
    );
    const text = JSON.stringify(events);
    expect(text).not.toContain(secret);
    expect(text).toContain('[redacted]');
  });
});

describe('a permission request', () => {
  it('is silent when no rule objects, and recorded as the agent asking its user', async () => {
    const { handler, events } = setUp();
    expect(await handle(handler, call('PermissionRequest', 'ls'))).toEqual(nothing);
    expect(events[0]?.fields).toMatchObject({ kind: 'approval.requested', decision: 'allow' });
    expect(handler.counts.toolCalls).toBe(0);
  });

  it('is denied in enforce when a rule objects', async () => {
    const { handler, events } = setUp();
    expect((await handle(handler, call('PermissionRequest', 'rm -rf v')))[0]).toBe(2);
    expect(events[0]?.fields).toMatchObject({ kind: 'tool_call.decided', decision: 'deny' });
  });
});

describe('input that cannot be read', () => {
  const broken: [string, HookRequest][] = [
    ['empty', request('PreToolUse', '')],
    ['truncated', request('PreToolUse', '{"tool_name":"Ba')],
    ['not JSON', request('PreToolUse', 'hello')],
    ['not UTF-8', { ...request('PreToolUse', ''), head: Buffer.from([0xff]), trueLength: 1 }],
    ['over 1 MiB', request('PreToolUse', '{}', { trueLength: 100_000_000 })],
    ['deeper than 64', request('PreToolUse', `${'['.repeat(200)}${']'.repeat(200)}`)],
    ['no tool call', request('PreToolUse', { hook_event_name: 'PreToolUse' })],
  ];

  it.each(broken)('is denied in enforce when %s, and recorded as opaque', async (_name, hook) => {
    const { handler, events } = setUp();
    const [exitCode, stdout, stderr] = await handle(handler, hook);
    expect([exitCode, stdout]).toEqual([2, '']);
    expect(stderr).toContain('the call cannot be read: ');
    expect(events[0]?.fields).toMatchObject({ kind: 'tool_call.decided', tool: null, decision: 'deny' });
    expect(JSON.parse(events[0]!.payload!)).toMatchObject({
      inputBytes: hook.trueLength,
      call: { opaque: ['unreadable'] },
    });
  });

  it.each(broken)('is denied in enforce when %s even if no rule says so', async (_name, hook) => {
    expect((await handle(setUp({ policies: [] }).handler, hook))[0]).toBe(2);
  });

  it.each(broken)('is let through in observe when %s, and recorded as opaque', async (_name, hook) => {
    const { handler, events } = setUp({ mode: 'observe' });
    expect(await handle(handler, hook)).toEqual(nothing);
    expect(JSON.parse(events[0]!.payload!).call.opaque).toEqual(['unreadable']);
  });

  it.each(['PostToolUse', 'Stop', 'UserPromptSubmit', 'SessionStart'])('never blocks a %s', async (event) => {
    const { handler, events } = setUp();
    expect(await handle(handler, request(event, 'garbage', { trueLength: 5_000_000 }))).toEqual(nothing);
    expect(JSON.parse(events[0]!.payload!)).toMatchObject({
      opaque: 'it is over 1 MiB',
      inputBytes: 5_000_000,
    });
  });
});

describe('trouble inside', () => {
  const failing = async (): Promise<PolicyEngine> => {
    throw new Error('no wasm');
  };

  it('denies in enforce when the policy cannot be loaded', async () => {
    const { handler, events } = setUp({ createEngine: failing });
    const [exitCode, , stderr] = await handle(handler, call('PreToolUse', 'ls'));
    expect(exitCode).toBe(2);
    expect(stderr).toContain('the policy could not be loaded');
    expect(JSON.parse(events[0]!.payload!).failure).toBe('no wasm');
  });

  it('is recorded as would-deny in observe when the policy cannot be loaded', async () => {
    const { handler, events } = setUp({ createEngine: failing, mode: 'observe' });
    expect(await handle(handler, call('PreToolUse', 'ls'))).toEqual(nothing);
    expect(events[0]?.fields).toMatchObject({ decision: 'deny', mode: 'observe' });
  });

  it('denies in enforce when a policy does not parse', async () => {
    const { handler } = setUp({ policies: [{ id: 'x', text: 'forbid (' }] });
    expect((await handle(handler, call('PreToolUse', 'ls')))[0]).toBe(2);
  });

  it.each(['full', 'broken'] as const)(
    'denies new calls in enforce when the spool is %s, and lets them run in observe',
    async (state) => {
      const enforced = setUp();
      enforced.sink[state] = true;
      const [exitCode, , stderr] = await handle(enforced.handler, call('PreToolUse', 'ls'));
      expect(exitCode).toBe(2);
      expect(stderr).toContain('the local record of tool calls is full');

      const observed = setUp({ mode: 'observe' });
      observed.sink[state] = true;
      expect(await handle(observed.handler, call('PreToolUse', 'ls'))).toEqual(nothing);
    },
  );

  it('fails closed in enforce only on events that can block', () => {
    const { handler } = setUp();
    const failed = (event: string) => said(handler.onFailure(request(event, ''), new Error('x')))[0];
    expect(['PreToolUse', 'PermissionRequest', 'PostToolUse', 'Stop'].map(failed)).toEqual([2, 2, 0, 0]);
    const { handler: observing } = setUp({ mode: 'observe' });
    expect(said(observing.onFailure(request('PreToolUse', ''), new Error('x')))).toEqual(nothing);
  });

  it('refuses a hook of another agent', async () => {
    await expect(
      setUp().handler.handleHook(request('PreToolUse', '{}', { agent: 'codex' })),
    ).rejects.toThrow();
  });
});

describe('other events', () => {
  it('record how a call ended', async () => {
    const { handler, events } = setUp({ more: { payloads: () => 'full' } });
    const second = { tool_use_id: 'toolu_2' };
    await handle(handler, call('PreToolUse', 'ls'));
    await handle(handler, call('PreToolUse', 'false', second));
    await handle(handler, call('PostToolUse', 'ls', { tool_response: ['a'] }));
    await handle(handler, call('PostToolUseFailure', 'false', { ...second, error: 'Exit code 1' }));
    expect(events.slice(2).map(({ fields }) => [fields.kind, fields.toolUse])).toEqual([
      ['tool_call.completed', 'toolu_1'],
      ['tool_call.failed', 'toolu_2'],
    ]);
    expect(JSON.parse(events[3]!.payload!).details).toMatchObject({
      outcome: 'failed',
      error: 'Exit code 1',
    });
  });

  it('tell that another hook changed the input between proposal and end', async () => {
    const { handler, events } = setUp();
    await handle(handler, call('PreToolUse', 'ls'));
    await handle(handler, call('PostToolUse', 'curl evil', { tool_response: '' }));
    expect(events.map(({ fields }) => fields.kind)).toEqual([
      'tool_call.decided',
      'tamper.input_changed',
      'tool_call.completed',
    ]);
    expect(events[1]?.fields).toMatchObject({ tool: 'Bash', toolUse: 'toolu_1' });
  });

  it('say nothing about tampering when the input stayed', async () => {
    const { handler, events } = setUp();
    await handle(handler, call('PreToolUse', 'ls'));
    await handle(handler, call('PostToolUse', 'ls', { tool_response: '' }));
    expect(events.map(({ fields }) => fields.kind)).toEqual(['tool_call.decided', 'tool_call.completed']);
  });

  it('record the length of a prompt and nothing of its text', async () => {
    const { handler, events, seen } = setUp();
    await handle(
      handler,
      request('UserPromptSubmit', { hook_event_name: 'UserPromptSubmit', prompt: 'my secret plan' }),
    );
    expect(JSON.parse(events[0]!.payload!)).toMatchObject({
      event: 'UserPromptSubmit',
      details: { promptBytes: 14 },
    });
    expect(JSON.stringify(events)).not.toContain('secret plan');
    expect(seen).toEqual(['UserPromptSubmit']);
  });

  it('show no secret in the names around a call, nor the half of one where a text is cut', async () => {
    const secret = 'sk_live_0123456789abcdef';
    const { handler, events } = setUp({ secrets: [secret], mode: 'observe' });
    const names = { tool_use_id: `toolu_${secret}`, permission_mode: secret };
    await handle(handler, call('PreToolUse', 'ls', names));
    const error = `${'x'.repeat(990)}${secret}`;
    await handle(
      handler,
      call('PostToolUseFailure', 'ls', { ...names, error, agent_id: `${'x'.repeat(995)}${secret}` }),
    );
    await handle(handler, request(secret, { hook_event_name: secret }));
    await handle(handler, request(secret, 'not JSON'));
    expect(events).toHaveLength(4);
    expect(JSON.stringify(events)).not.toContain('sk_l');
  });

  it('make hostile names fit for a header', async () => {
    const { handler, events } = setUp({ mode: 'observe' });
    await handle(
      handler,
      call('PreToolUse', 'ls', { tool_name: `\u0000\ud800${'x'.repeat(999)}`, tool_use_id: '' }),
    );
    expect(events[0]?.fields.tool).toBe(`\ufffd\ufffd${'x'.repeat(254)}`);
    expect(events[0]?.fields.toolUse).toBeNull();
  });

  it('make any name fit: nothing hidden, and no secret that a cut or a replaced character leaves over', async () => {
    const { handler, events } = setUp({ mode: 'observe', policies: [] });
    const patterns = createRecordRedactor();
    await fc.assert(
      fc.asyncProperty(hostileName, hostileName, async (tool, toolUse) => {
        events.length = 0;
        await handle(handler, call('PostToolUse', 'ls', { tool_name: tool, tool_use_id: toolUse }));
        const names = events.flatMap(({ fields }) => [fields.tool, fields.toolUse]);
        expect(events.length).toBeGreaterThan(0);
        for (const name of names.filter((text) => typeof text === 'string')) {
          expect(hasHidden(name)).toBe(false);
          expect(patterns.redactText(name)).toMatchObject({ text: name, hits: 0 });
          expect(name.length).toBeLessThanOrEqual(headerLimits.tool);
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe('what is recorded', () => {
  const token = `ghp_${'q7Xk2Lm9Rt4V'.repeat(3)}`;
  const recorded = async (payloads: 'summary' | 'full' | 'omitted', ...hooks: HookRequest[]) => {
    const { handler, events } = setUp({ mode: 'observe', more: { payloads: () => payloads } });
    for (const hook of hooks) await handle(handler, hook);
    return events.map(({ fields, payload }) => ({
      kind: fields.kind,
      payload: payload?.startsWith('{') ? JSON.parse(payload) : payload,
    }));
  };
  const failed = call('PostToolUseFailure', 'ls', { error: `Exit code 2: ${token}` });
  const done = call('PostToolUse', 'ls', { tool_response: { stdout: `a ${token}`, password: 'b' } });

  it('has nothing in it that looks like a secret, though policy decides on all of it', async () => {
    const { handler, events } = setUp();
    const hidden = call('PreToolUse', `TOKEN='$(rm -rf victim)' X_TOKEN=${token} run`);
    const named = call('PreToolUse', 'ls', { tool_use_id: token });

    expect((await handle(handler, hidden))[0]).toBe(2);
    await handle(handler, named);

    expect(JSON.stringify(events)).not.toContain(token.slice(0, 12));
    expect(JSON.parse(String(events[0]?.payload))).toMatchObject({
      callRedacted: true,
      call: { command: expect.stringContaining('X_TOKEN=[redacted] run') as string },
    });
    expect(events[1]?.fields.toolUse).toBe('[redacted]');
  });

  it('is without texts in a summary', async () => {
    const [decision, end, failure] = await recorded('summary', call('PreToolUse', 'ls'), done, failed);

    expect(decision?.payload).toMatchObject({ details: {}, call: { command: 'ls' } });
    expect(Object.keys(end?.payload)).toEqual(['schema', 'event', 'details']);
    expect(failure?.payload.details).toEqual({
      outcome: 'failed',
      errorLength: 13 + token.length,
    });
  });

  it('is all of it in full, without what looks like a secret', async () => {
    const [, end, failure] = await recorded('full', call('PreToolUse', 'ls'), done, failed);

    expect(end?.payload.result).toEqual({ stdout: 'a [redacted]', password: '[redacted]' });
    expect(failure?.payload.details.error).toBe('Exit code 2: [redacted]');
  });

  it('is not the half of what looks like a secret, where an error is cut', async () => {
    const cut = call('PostToolUseFailure', 'ls', { error: `${'. '.repeat(490)}${token}` });
    const [, failure] = await recorded('full', call('PreToolUse', 'ls'), cut);

    expect(failure?.payload.details.error).toBe(`${'. '.repeat(490)}[redacted]`);
  });

  it('is the view of a decided call alone where payloads are omitted', async () => {
    const [decision, end] = await recorded('omitted', call('PreToolUse', 'ls'), done);

    expect(Object.keys(decision?.payload)).toEqual(['schema', 'call']);
    expect(end).toEqual({ kind: 'tool_call.completed', payload: 'left out' });
  });

  it('misses its payload, and is never raw, when it cannot be searched in time', async () => {
    const { handler, events } = setUp({ mode: 'observe', more: { patterns: createRecordRedactor(0) } });

    await handle(handler, call('PreToolUse', `echo ${token} ${'x'.repeat(5000)}`));

    expect(events.map(({ payload }) => payload)).toEqual([null]);
  });
});
