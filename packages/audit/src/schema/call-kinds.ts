/** Kinds a hook server writes about tool calls, and about itself. */
import { type Fields, kind, kindOf, type PayloadForm } from './kind-spec.ts';

const schema = { schema: ['count', 'Version of the payload: 1.'] } as const satisfies Fields;
const unread = {
  opaque: ['text?', 'Why the input could not be read; absent when it could.'],
  inputBytes: ['count?', 'Length of an input that could not be read.'],
} as const satisfies Fields;

const decision: Fields = {
  ...schema,
  reason: ['text?', 'Why, in the words of the rule.'],
  part: ['text?', 'The part of the call that decided, in words.'],
  failure: ['text?', 'What went wrong inside the engine; absent when nothing did.'],
  approver: ['null|text?', 'Group or role that has to approve; null: the user.'],
  fourEyes: ['flag?', 'Whether that must be somebody else than the user.'],
  asked: ['text?', 'Who was asked and what came of it: `the user, by the agent`, `approved`, `denied`.'],
  policyStale: ['flag?', 'The policy had not been refreshed for longer than it lives.'],
  ...unread,
  details: ['object?', 'Short facts: sub-agent, MCP server.'],
  call: [
    'object?',
    'The view policy decided on (`ToolCall`, schema 2), or `{clipped, bytes}` when it was over 64,000 bytes.',
  ],
  callRedacted: [
    'flag?',
    'Something that looked like a secret was taken out of `call` after the decision: it cannot be replayed exactly.',
  ],
};

const call = {
  ...{ schema: 2, agent: 'claude', agentVersion: '2.1.330', event: 'PreToolUse', tool: 'Bash' },
  ...{
    input: { command: 'npm test' },
    command: 'npm test',
    cwd: '/home/dev/shop',
    permissionMode: 'default',
  },
  parts: [
    { kind: 'tool', name: 'Bash' },
    {
      ...{ kind: 'command', program: 'npm', path: 'npm', args: ['test'], subcommand: 'test', flags: [] },
      ...{ assigns: [], via: [], pipedFrom: '', dynamic: false },
    },
  ],
  ...{ subagent: null, opaque: [], repository: { name: 'github.com/acme/shop', branch: 'main' } },
  ...{ credentials: ['github'], atMs: 1_795_449_600_000, groups: ['dev'], role: 'member' },
  user: 'usr_01a2b3c4-0000-7000-8000-000000000002',
  org: 'org_01a2b3c4-0000-7000-8000-000000000001',
  session: 'ses_01a2b3c4-0000-7000-8000-000000000003',
};

/** The form of events that hold a decision. */
export const decisionForm = (when: string): PayloadForm => ({
  when,
  fields: decision,
  example: { schema: 1, reason: 'no rule objects', details: {}, call },
});

const end: Fields = {
  ...schema,
  event: ['text?', 'Name of the event, as the agent spells it.'],
  ...unread,
  details: [
    'object?',
    'Short facts: outcome, duration, length and type of the result, length of the error; with setting `full` the error itself.',
  ],
  result: ['any?', 'What the tool gave back, redacted; with setting `full` alone.'],
};

const tampering: Fields = {
  ...schema,
  event: ['text?', 'Event that gave it away, as the agent spells it.'],
  facts: ['object?', 'What is known: files, sub-agent, whether the call had been denied.'],
  input: ['any?', 'Input of the call that ran, redacted.'],
};

/** The kinds. */
export const callKinds = {
  'tool_call.proposed': kindOf(
    'client',
    'A rule asks a person about a call; nobody has answered yet.',
    decisionForm(''),
  ),
  'tool_call.decided': kindOf('client', 'A call was decided before it ran.', decisionForm('')),
  'tool_call.completed': kind('client', 'A call ended.', end, {
    ...{ schema: 1, event: 'PostToolUse' },
    details: { durationMs: 412, outcome: 'completed', responseType: 'object', responseBytes: 2048 },
  }),
  'tool_call.failed': kind('client', 'A call failed, by the agent’s own account.', end, {
    ...{ schema: 1, event: 'PostToolUseFailure' },
    details: { durationMs: 40, isInterrupt: false, outcome: 'failed', errorLength: 11 },
  }),
  'policy.changed': kind(
    'client',
    'Another version or mode of the policy holds in the running session.',
    {
      ...schema,
      seq: ['count', 'Publication that holds from now on.'],
      failureMode: [
        'text',
        'How hooks that fail go on answering, which was settled at the start: `observe`, `enforce`.',
      ],
    },
    { schema: 1, seq: 4, failureMode: 'observe' },
  ),
  'agent.event': kindOf(
    'client',
    'Anything else an agent tells its hooks, the start of the agent, and credentials handed to programs inside.',
    {
      when: 'told by the agent',
      fields: end,
      example: { schema: 1, event: 'SessionStart', details: { source: 'startup' } },
    },
    {
      when: 'the agent is started',
      fields: {
        ...schema,
        event: ['text', '`launch`.'],
        flags: ['texts', 'Names of its options, without values.'],
      },
      example: { schema: 1, event: 'launch', flags: ['--model'] },
    },
    {
      when: 'a program asks for a credential',
      fields: {
        ...schema,
        event: ['text', 'What was handed out.'],
        provider: ['text', 'Provider by name.'],
        lease: ['text', '`lea_…` it belongs to.'],
      },
      example: {
        ...{ schema: 1, event: 'credential', provider: 'github' },
        lease: 'lea_01a2b3c4-0000-7000-8000-000000000004',
      },
    },
  ),
  'tamper.input_changed': kind(
    'client',
    'A call ran with another input than the one that was decided.',
    tampering,
    {
      ...{ schema: 1, event: 'PostToolUse', facts: {}, input: { command: 'npm run other' } },
    },
  ),
  'tamper.config_changed': kind(
    'client',
    'Settings that bear on hooks were changed while the agent ran.',
    tampering,
    {
      ...{ schema: 1, event: 'ConfigChange', facts: { files: ['/home/dev/shop/.claude/settings.json'] } },
    },
  ),
  'tamper.unproposed_result': kind(
    'client',
    'A call ended that was never proposed, or that was denied.',
    tampering,
    {
      ...{ schema: 1, event: 'PostToolUse', facts: { denied: false }, input: { command: 'npm test' } },
    },
  ),
  'tamper.subagent_unseen': kind(
    'client',
    'A sub-agent ended whose start and calls were never seen.',
    tampering,
    {
      ...{ schema: 1, event: 'SubagentStop', facts: { agentId: 'a1', agentType: 'Explore' } },
    },
  ),
  'tamper.no_session_start': kind('client', 'The agent runs and calls no hook.', schema, { schema: 1 }),
  'tamper.settings_changed': kindOf(
    'both',
    'The hook configuration of a session is not what it was opened with.',
    { when: 'seen by the hook server', fields: schema, example: { schema: 1 } },
    {
      when: 'seen in a heartbeat',
      fields: {
        before: ['text', 'Hash it was opened with.'],
        after: ['text', 'Hash it has now.'],
      },
      example: { before: 'a'.repeat(64), after: 'b'.repeat(64) },
    },
  ),
  'events.lost': kind(
    'client',
    'Events were dropped before they got a place in the stream: the spool was full, or the disk refused.',
    {
      ...schema,
      count: ['count', 'How many.'],
      from: ['instant', 'When the first was dropped.'],
      to: ['instant', 'When the last was.'],
    },
    { schema: 1, count: 3, from: '2026-11-23T10:00:00.000Z', to: '2026-11-23T10:00:04.000Z' },
  ),
} as const;
