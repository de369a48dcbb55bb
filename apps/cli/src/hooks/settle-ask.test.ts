import { describe, expect, it } from 'vitest';
import type { ApprovalOutcome } from './ask-approval.ts';
import { noFacts } from './call-facts.ts';
import type { AskPerson } from './settle-ask.ts';
import { call, handle, nothing, request, type Setup, setUp } from './test-handler.ts';

const approved: ApprovalOutcome = { kind: 'approved', approvalId: 'apr_1' };

/** A handler whose people answer so, with what they were asked. */
function setUpAsking(outcome: ApprovalOutcome | (() => Promise<ApprovalOutcome>), setup: Setup = {}) {
  const asked: Parameters<AskPerson>[0][] = [];
  const askPerson: AskPerson = async (question) => {
    asked.push(question);
    return typeof outcome === 'function' ? outcome() : outcome;
  };
  return { ...setUp({ ...setup, more: { askPerson, ...setup.more } }), asked };
}

const interactive = { more: { interactive: true } } as const;
const outputOf = ([, stdout]: [number, string, string]) => JSON.parse(stdout).hookSpecificOutput;

describe('a rule that asks, without approver', () => {
  it("becomes the agent's own prompt with the rule's reason, where the agent can ask", async () => {
    const { handler, asked, events } = setUpAsking(approved, interactive);
    const output = outputOf(await handle(handler, call('PreToolUse', 'git push')));
    expect(output).toMatchObject({ permissionDecision: 'ask' });
    expect(output.permissionDecisionReason).toContain('approval needed by rule test.push: pushes');
    expect(await handle(handler, call('PermissionRequest', 'git push'))).toEqual(nothing);
    expect(asked).toEqual([]);
    expect(events.map(({ fields }) => [fields.kind, fields.decision, fields.rule])).toEqual([
      ['tool_call.decided', 'ask', 'test.push'],
      ['approval.requested', 'ask', 'test.push'],
    ]);
  });

  it.each([
    ['the agent prints and ends', {}, {}],
    ['nobody is asked in its permission mode', interactive, { permission_mode: 'bypassPermissions' }],
    ['its permission mode is not known', interactive, { permission_mode: 'new' }],
  ])('is put to a person when %s', async (_name, setup, more) => {
    const { handler, asked } = setUpAsking(approved, setup);
    const output = outputOf(await handle(handler, call('PreToolUse', 'git push', more)));
    expect(output).toMatchObject({ permissionDecision: 'allow' });
    expect(asked).toHaveLength(1);
  });

  it('is silent in observe, and recorded as what would be asked', async () => {
    const { handler, asked, events } = setUpAsking(approved, { mode: 'observe' });
    expect(await handle(handler, call('PreToolUse', 'git push'))).toEqual(nothing);
    expect(asked).toEqual([]);
    expect(events.map(({ fields }) => [fields.kind, fields.decision, fields.mode])).toEqual([
      ['tool_call.decided', 'ask', 'observe'],
    ]);
  });
});

describe('a rule that asks for an approver', () => {
  const publish = call('PreToolUse', 'npm publish');

  it('is put to a person although the agent could ask, with everything but the secret of the call', async () => {
    const secret = 'sk_live_0123456789abcdef';
    const { handler, asked } = setUpAsking(approved, { ...interactive, secrets: [secret] });
    await handle(handler, call('PreToolUse', `npm publish --otp ${secret}`));
    expect(asked[0]).toMatchObject({ rule: 'test.publish', policyVersion: 7, toolUseId: 'toolu_1' });
    expect(asked[0]?.call).toMatchObject({ schema: 2, tool: 'Bash', session: 'ses_1' });
    expect([asked[0]?.callHash.length, asked[0]?.shapeHash.length]).toEqual([32, 32]);
    expect(JSON.stringify(asked[0]?.call)).not.toContain(secret);
  });

  it('runs when a person approved it; attempt and approval are on record', async () => {
    const { handler, events } = setUpAsking(approved);
    expect(outputOf(await handle(handler, publish))).toMatchObject({ permissionDecision: 'allow' });
    expect(events.map(({ fields }) => [fields.kind, fields.decision, fields.lineage])).toEqual([
      ['tool_call.proposed', 'ask', undefined],
      ['tool_call.decided', 'allow', { approval: 'apr_1' }],
    ]);
    expect(JSON.parse(events[1]!.payload!)).toMatchObject({ approver: 'security', fourEyes: true });
    expect(handler.counts).toEqual({ toolCalls: 1, denied: 0, wouldDeny: 0 });
  });

  it('leaves the attempt on record before anybody has answered', async () => {
    let answer: (outcome: ApprovalOutcome) => void = () => undefined;
    const waiting = new Promise<ApprovalOutcome>((resolve) => {
      answer = resolve;
    });
    const { handler, events, asked } = setUpAsking(() => waiting);
    const handled = handle(handler, publish);
    await expect.poll(() => asked.length).toBe(1);
    expect(events.map(({ fields }) => fields.kind)).toEqual(['tool_call.proposed']);
    answer(approved);
    await handled;
  });

  it.each([
    [{ kind: 'denied', approvalId: 'apr_1', reason: 'not today' }, 'decided against it: not today', 'apr_1'],
    [
      { kind: 'waiting', approvalId: 'apr_1', url: 'https://k.test/a' },
      'open at https://k.test/a; approved? try',
      'apr_1',
    ],
    [{ kind: 'unavailable', why: 'the session ended' }, 'that failed: the session ended', undefined],
  ] as const)('is denied when the answer is %j', async (outcome, words, approval) => {
    const { handler, events } = setUpAsking(outcome);
    const [exitCode, stdout, stderr] = await handle(handler, publish);
    expect([exitCode, stdout]).toEqual([2, '']);
    expect(stderr).toContain('denied by rule test.publish');
    expect(stderr).toContain(words);
    expect(events.at(-1)?.fields).toMatchObject({ kind: 'tool_call.decided', decision: 'deny' });
    expect(events.at(-1)?.fields.lineage?.approval).toBe(approval);
    expect(handler.counts.denied).toBe(1);
  });

  it('is denied where nobody can be asked', async () => {
    const [exitCode, , stderr] = await handle(setUp().handler, publish);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('nobody can be asked here');
  });

  it('is denied without asking when the attempt cannot be recorded', async () => {
    const { handler, asked, sink } = setUpAsking(approved);
    sink.broken = true;
    expect((await handle(handler, publish))[0]).toBe(2);
    expect(asked).toEqual([]);
  });

  it('hears no approval for a call that cannot be read', async () => {
    const { handler, asked } = setUpAsking(approved);
    expect((await handle(handler, request('PreToolUse', '{"tool_name":"npm publish')))[0]).toBe(2);
    expect(asked).toEqual([]);
  });
});

describe('the prompt of the agent after an approval', () => {
  it('is answered in the place of its user within a minute, for that very call and no other', async () => {
    let nowMs = 0;
    const facts = { ...noFacts, nowMs: () => nowMs };
    const { handler, asked, events } = setUpAsking(approved, { more: { facts } });
    await handle(handler, call('PreToolUse', 'npm publish'));
    nowMs = 59_000;
    const output = outputOf(await handle(handler, call('PermissionRequest', 'npm publish')));
    expect(output).toEqual({ hookEventName: 'PermissionRequest', decision: { behavior: 'allow' } });
    expect(asked).toHaveLength(1);
    expect(events.at(-1)?.fields).toMatchObject({
      ...{ kind: 'tool_call.decided', decision: 'allow', lineage: { approval: 'apr_1' } },
    });

    await handle(handler, call('PermissionRequest', 'npm publish --force'));
    expect(asked).toHaveLength(2);
    nowMs = 200_000;
    await handle(handler, call('PermissionRequest', 'npm publish'));
    expect(asked).toHaveLength(3);
  });

  it('gets the hash of the same call again, and another one for another call or another session', async () => {
    const { handler, asked } = setUpAsking({ kind: 'unavailable', why: 'x' });
    for (const command of ['npm publish', 'npm publish', 'npm publish .']) {
      await handle(handler, call('PreToolUse', command));
    }
    const other = setUpAsking({ kind: 'unavailable', why: 'x' });
    await handle(other.handler, call('PreToolUse', 'npm publish'));
    const [first, second, third] = asked.map(({ callHash }) => Buffer.from(callHash).toString('hex'));
    expect(second).toBe(first);
    expect(third).not.toBe(first);
    expect(Buffer.from(other.asked[0]!.callHash).toString('hex')).not.toBe(first);
  });
});

describe('an elicitation', () => {
  const elicit = (server: string) =>
    request('Elicitation', {
      hook_event_name: 'Elicitation',
      mcp_server_name: server,
      message: 'your password, please',
      requested_schema: { type: 'object' },
    });

  it('is declined by JSON with exit 0 when a rule forbids its server', async () => {
    const { handler, events } = setUp();
    const reply = await handle(handler, elicit('unknown'));
    expect([reply[0], reply[2]]).toEqual([0, '']);
    expect(outputOf(reply)).toEqual({ hookEventName: 'Elicitation', action: 'decline' });
    expect(events[0]?.fields).toMatchObject({ kind: 'tool_call.decided', decision: 'deny' });
    expect(JSON.parse(events[0]!.payload!).call).toMatchObject({
      event: 'Elicitation',
      opaque: [],
      input: { message: 'your password, please', requested_schema: { type: 'object' } },
      parts: [{ kind: 'mcp', server: 'unknown', tool: 'elicitation' }],
    });
    expect(handler.counts.toolCalls).toBe(0);
  });

  it('is opaque to no rule when it could be read', async () => {
    const text = '@id("test.opaque") forbid (principal, action, resource) when { context.opaque };';
    const { handler } = setUp({ policies: [{ id: 'test.opaque', text }] });
    expect(await handle(handler, elicit('desk'))).toEqual(nothing);
  });

  it('is let be when no rule objects, and in observe', async () => {
    expect(await handle(setUp().handler, elicit('desk'))).toEqual(nothing);
    expect(await handle(setUp({ mode: 'observe' }).handler, elicit('unknown'))).toEqual(nothing);
  });

  it('is declined in enforce when it cannot be read', async () => {
    const reply = await handle(setUp().handler, request('Elicitation', { hook_event_name: 'Elicitation' }));
    expect(outputOf(reply).action).toBe('decline');
  });
});
