/** Kinds about sessions, credentials, approvals and logins, which the backend writes. */
import { decisionForm } from './call-kinds.ts';
import { type Fields, kind, kindOf } from './kind-spec.ts';

const id = (prefix: string, last: number): string => `${prefix}_01a2b3c4-0000-7000-8000-00000000000${last}`;
const at = '2026-11-23T10:00:00.000Z';

const opened: Fields = {
  agent: ['text', 'Registered agent.'],
  agentVersion: ['text', 'As the machine says; may be empty.'],
  hostname: ['text', 'As the machine says.'],
  cliVersion: ['text', 'Version of `kontext`.'],
  hookConfigHash: ['text', 'Hash of the hook configuration; may be empty.'],
  interactive: ['flag?', 'The agent can ask its user itself.'],
  repository: ['text?', 'Repository it runs in, without credentials; may be empty.'],
  reason: ['text?', 'Why policy objects to it, where it does.'],
  failure: ['null|text?', 'What went wrong inside the engine.'],
};
const openedExample = {
  ...{ agent: 'claude', agentVersion: '2.1.330', hostname: 'laptop', cliVersion: '0.1.0' },
  ...{ hookConfigHash: 'a'.repeat(64), interactive: true, repository: 'github.com/acme/shop' },
};
const ended: Fields = {
  leasesEnded: ['count', 'Leases that ended with it.'],
  leases: ['texts', 'The first 1,000 of them.'],
};
const asked: Fields = {
  provider: ['text', 'Provider by name; `kontext` for a token of our own.'],
  resource: ['text', 'Resource of the placeholder; may be empty.'],
  channel: ['text', 'By which way it was asked for.'],
  session: ['null|text?', 'Session a delegated token is for.'],
  policy: ['object?', '`reason` and `failure`, where a rule objected.'],
};
const granted: Fields = {
  ...asked,
  kind: ['text', '`oauth`, `static`, `minted` or `token`.'],
  scopes: ['texts', 'Scopes it has.'],
  expiresAt: ['null|instant', 'When the lease ends.'],
  connectionName: ['text?', 'Connection it comes from.'],
  upstreamExpiresAt: ['null|instant?', 'When it stops working at the provider.'],
  depth: ['count?', 'Delegations above it, for a token of our own.'],
  actor: ['text?', 'Who acts, for a token of our own.'],
};
const grantedExample = {
  ...{ provider: 'github', resource: '', channel: 'rpc', kind: 'oauth', scopes: ['repo'] },
  ...{ expiresAt: at, connectionName: 'default', upstreamExpiresAt: null },
};
const approval: Fields = { approval: ['text', '`apr_…`'] };
const confirmation: Fields = {
  confirmation: ['null|text', '`cnf_…`; null where what was sent as one is none.'],
  action: ['text?', 'Procedure that was to be confirmed.'],
  address: ['text?', 'Address it came from.'],
};
const login: Fields = {
  client: ['text', 'OAuth client, or `browser`.'],
  machine: ['null|text', 'As the machine says.'],
  address: ['text', 'Address it came from.'],
  reason: ['null|text', 'Why it failed or ended.'],
};
/** In the browser: by whom. */
const vouched: Fields = {
  identityProvider: ['text?', 'Name of the identity provider that said who it is; absent with a passcode.'],
};
const loginExample = { client: 'kontext-cli', machine: 'laptop', address: '192.0.2.7', reason: null };

/** The kinds. */
export const sessionKinds = {
  'session.opened': kindOf(
    'both',
    'A session began, or one that was lost came back.',
    {
      when: 'it began',
      fields: {
        ...opened,
        clientStream: ['text', 'Stream the hook server writes.'],
        grant: ['text', 'Login it was opened with.'],
      },
      example: { ...openedExample, clientStream: id('str', 5), grant: 'grant-1' },
    },
    {
      when: 'it came back',
      fields: { resumed: ['flag', 'True.'], silentSince: ['instant', 'Last sign of life before.'] },
      example: { resumed: true, silentSince: at },
    },
  ),
  'session.ended': kindOf(
    'both',
    'A session ended, and its leases with it.',
    {
      when: 'on its own stream',
      fields: {
        ...ended,
        exitCode: ['count?', 'Exit code of the agent.'],
        reason: ['text?', 'Why, where not its own command ended it.'],
        by: ['text?', 'Who ended it by hand.'],
      },
      example: { exitCode: 0, leasesEnded: 1, leases: [id('lea', 4)] },
    },
    {
      when: 'on the organisation’s stream, when somebody else ended it',
      fields: {
        session: ['text', 'The session.'],
        owner: ['text', 'Whose it was.'],
        reason: ['text', 'Why.'],
      },
      example: { session: id('ses', 3), owner: id('usr', 2), reason: 'laptop lost' },
    },
  ),
  'session.lost': kind(
    'server',
    'A session gave no sign of life; its leases ended.',
    { ...ended, silentSince: ['instant', 'Last sign of life.'] },
    { silentSince: at, leasesEnded: 0, leases: [] },
  ),
  'session.refused': kind(
    'server',
    'Policy forbade a session.',
    { ...opened, mode: ['null|text', 'Mode that was asked for.'] },
    { ...openedExample, mode: null, reason: 'no agents on this machine', failure: null },
  ),
  'credential.resolved': kind('server', 'A credential was handed out.', granted, grantedExample),
  'credential.renewed': kind(
    'server',
    'A credential took over from an older one; both leases stand in the header, the new one first.',
    granted,
    grantedExample,
  ),
  'credential.revoked': kindOf(
    'server',
    'Leases were ended, or what came of taking one back at its provider.',
    {
      when: 'somebody ended them',
      fields: {
        filter: ['object', 'What was asked to be ended.'],
        ended: ['count', 'How many were.'],
        leases: ['texts', 'The first 1,000 of them.'],
      },
      example: { filter: { provider: 'github' }, ended: 1, leases: [id('lea', 4)] },
    },
    {
      when: 'taken back at the provider',
      fields: {
        provider: ['text', 'Provider by name.'],
        resource: ['text', 'Resource of the placeholder.'],
        upstream: ['text', '`done`, `failed` or `impossible`.'],
        detail: ['text', 'What the provider said, in our words.'],
        attempts: ['count', 'Attempts made.'],
      },
      example: { provider: 'github', resource: '', upstream: 'done', detail: 'revoked', attempts: 1 },
    },
  ),
  'credential.refused': kindOf(
    'server',
    'A credential was not handed out, or not renewed.',
    {
      when: 'it was asked for',
      fields: {
        ...asked,
        code: ['text', 'Code of the error.'],
        failureReason: ['null|text', 'What failed, for programs.'],
        excess: ['any?', 'Scopes that were too many.'],
      },
      example: {
        provider: 'stripe',
        resource: '',
        channel: 'rpc',
        code: 'KX_CONNECTION_MISSING',
        failureReason: null,
      },
    },
    {
      when: 'renewals are withheld',
      fields: {
        code: ['text', 'Code of the error.'],
        why: ['text', 'Why.'],
        renewal: ['flag', 'True.'],
      },
      example: { code: 'KX_RENEWAL_WITHHELD', why: 'no hook was called', renewal: true },
    },
  ),
  'approval.requested': kindOf(
    'both',
    'Somebody is asked: about a call, or to confirm an action in the browser.',
    {
      when: 'about a call, by the backend',
      fields: {
        ...approval,
        part: ['text', 'What is asked about, in words.'],
        reason: ['text', 'Why, in the words of the rule.'],
        approver: ['null|text', 'Who may decide.'],
        fourEyes: ['flag', 'Whether that must be somebody else than the user.'],
        callClipped: ['flag', 'What they were shown was shortened.'],
        shown: ['text', 'SHA-256 of the text they were shown.'],
        expiresAt: ['instant', 'Until when it is open.'],
      },
      example: {
        ...{ approval: id('apr', 6), part: 'command git push', reason: 'pushes', approver: null },
        ...{ fourEyes: false, callClipped: false, shown: 'a'.repeat(64), expiresAt: at },
      },
    },
    {
      when: 'to confirm an action',
      fields: {
        ...confirmation,
        summary: ['text', 'The sentence that is shown.'],
        machine: ['null|text', 'Machine it was asked from.'],
        session: ['text?', 'Session it was asked from.'],
      },
      example: {
        ...{ confirmation: id('cnf', 7), action: 'PublishPolicy', summary: 'publish version 4' },
        ...{ machine: 'laptop', address: '192.0.2.7' },
      },
    },
    decisionForm('the agent asks its user itself, by the hook server'),
  ),
  'approval.decided': kindOf(
    'server',
    'Somebody decided, or a confirmation was used, returned or refused.',
    {
      when: 'about a call',
      fields: {
        ...approval,
        state: ['text', '`approved` or `denied`.'],
        lifetime: ['null|text', 'Once, or for calls like it in this session.'],
        decidedBy: ['null|text', 'Who.'],
        acr: ['null|text', 'How they were logged in.'],
        reason: ['null|text', 'What they said.'],
        approver: ['null|text', 'Who could decide.'],
        fourEyes: ['flag', 'Whether it had to be somebody else than the user.'],
        owner: ['text', 'Whose call it was.'],
        expiresAt: ['instant', 'Until when it holds.'],
      },
      example: {
        ...{ approval: id('apr', 6), state: 'approved', lifetime: 'once', decidedBy: id('usr', 8) },
        ...{ acr: 'urn:kontext:browser', reason: '', approver: 'security', fourEyes: true },
        ...{ owner: id('usr', 2), expiresAt: at },
      },
    },
    {
      when: 'about an action',
      fields: {
        ...confirmation,
        decision: ['text', '`approved`, `denied`, `used`, `returned` or `refused`.'],
        acr: ['null|text?', 'How they were logged in.'],
        authAt: ['instant?', 'When they had logged in.'],
        reason: ['text?', 'Why it was refused or returned.'],
      },
      example: {
        ...{ confirmation: id('cnf', 7), action: 'PublishPolicy', decision: 'approved' },
        ...{ acr: 'urn:kontext:browser', authAt: at, address: '192.0.2.7' },
      },
    },
  ),
  'approval.used': kind(
    'server',
    'A call ran because of an approval.',
    { ...approval, usedBy: ['null|text', 'The agent’s id of the call.'] },
    { approval: id('apr', 6), usedBy: 'toolu_1' },
  ),
  'approval.expired': kind(
    'server',
    'A question or an approval was over before it was answered or used.',
    {
      ...approval,
      was: ['text', '`pending` or `approved`.'],
      lifetime: ['null|text', 'How long it was to hold.'],
      why: ['text', 'Why it is over.'],
    },
    { approval: id('apr', 6), was: 'pending', lifetime: null, why: 'its time is over' },
  ),
  'login.succeeded': kind(
    'server',
    'Somebody logged in.',
    { ...login, ...vouched },
    { ...loginExample, client: 'browser', machine: null, identityProvider: 'okta' },
  ),
  'login.failed': kind(
    'server',
    'A login was refused.',
    { ...login, ...vouched },
    { ...loginExample, reason: 'denied by the user' },
  ),
  'login.ended': kind(
    'server',
    'A login ended; nobody can use it any more.',
    { ...login, login: ['text', 'Hash of its grant.'] },
    { ...loginExample, login: 'x4Tq', reason: 'logout' },
  ),
} as const;
