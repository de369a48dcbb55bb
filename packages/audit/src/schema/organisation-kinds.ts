/** Kinds about what an organisation has and decides, and about the record itself; the backend writes them. */
import { type Fields, kind, kindOf } from './kind-spec.ts';

const id = (prefix: string, last: number): string => `${prefix}_01a2b3c4-0000-7000-8000-00000000000${last}`;

const provider: Fields = { provider: ['text', 'Provider by name.'], providerId: ['text', '`prv_…`'] };
const providerExample = { provider: 'github', providerId: id('prv', 9) };
const connection: Fields = {
  provider: ['text', 'Provider by name.'],
  name: ['text', 'Name of the connection.'],
};
const connectionExample = { provider: 'github', name: 'default' };
const shared = {
  shared: ['flag', 'It belongs to the organisation, and not to one person.'],
} as const satisfies Fields;
const leasesEnded = { leasesEnded: ['count', 'Leases that ended with it.'] } as const satisfies Fields;
const member = { member: ['text', 'Whom it is about, `usr_…`.'] } as const satisfies Fields;
const standing = {
  role: ['text', 'Role in the organisation.'],
  groups: ['texts', 'Groups.'],
} as const satisfies Fields;
const webhook: Fields = {
  webhook: ['text', '`whk_…`'],
  host: ['text', 'Host of its URL; the URL may hold a secret.'],
};
const webhookExample = { webhook: id('whk', 1), host: 'hooks.example.com' };
const sink: Fields = {
  sink: ['text', '`snk_…`'],
  name: ['text', 'Its name.'],
  host: ['text', 'Host of its URL; the URL may hold a secret.'],
};
const sinkExample = { sink: id('snk', 1), name: 'siem', host: 'siem.example.com' };
const reason = { reason: ['text', 'Why, in the words of whoever did it.'] } as const satisfies Fields;
const hold: Fields = {
  session: ['text', 'The session.'],
  ...reason,
  payloads: ['count', 'Payloads it is about.'],
};

/** The kinds. */
export const organisationKinds = {
  'policy.drafted': kind(
    'server',
    'A version of the policy was stored.',
    {
      ...reason,
      policy: ['text', '`pol_…`'],
      hash: ['text', 'Hash of its rules.'],
      rules: ['count', 'Rules in it.'],
      files: ['count', 'Sources it was made of.'],
    },
    { policy: id('pol', 1), hash: 'a'.repeat(64), rules: 12, files: 2, reason: 'no pushes on Fridays' },
  ),
  'policy.published': kind(
    'server',
    'A version holds from now on, for everybody or for a group.',
    {
      ...reason,
      seq: ['count', 'Number of the publication.'],
      group: ['text', 'For whom; empty: everybody.'],
      staleRule: ['text?', 'What holds when it could not be refreshed.'],
      withdrawn: ['flag', 'The group has no policy of its own any more.'],
      before: ['null|object', 'What held before.'],
      policy: ['text?', '`pol_…`, of the first one.'],
      hash: ['text?', 'Hash of its rules, of the first one.'],
    },
    { seq: 4, group: '', staleRule: 'decide', withdrawn: false, reason: 'agreed', before: null },
  ),
  'webhook.added': kind(
    'server',
    'A webhook was added.',
    { ...webhook, events: ['texts', 'What it is told of.'] },
    { ...webhookExample, events: ['approval.requested'] },
  ),
  'webhook.removed': kind('server', 'A webhook was removed.', webhook, webhookExample),
  'webhook.disabled': kind(
    'server',
    'A webhook took nothing for days, and is told nothing any more.',
    { ...webhook, reason: ['text', 'What it answered last.'] },
    { ...webhookExample, reason: 'status 410' },
  ),
  'connection.begun': kind(
    'server',
    'Somebody is about to connect a provider.',
    { ...connection, ...shared, scopes: ['texts', 'Scopes that are asked for.'] },
    { ...connectionExample, scopes: ['repo'], shared: false },
  ),
  'connection.connected': kind(
    'server',
    'A provider is connected: the consent behind every credential of this connection.',
    { ...connection, ...shared, scopes: ['texts', 'Scopes it has.'] },
    { ...connectionExample, scopes: ['repo'], shared: false },
  ),
  'connection.revoked': kind(
    'server',
    'A connection was ended.',
    { ...connection, ...leasesEnded },
    { ...connectionExample, leasesEnded: 2 },
  ),
  'connection.failed': kind(
    'server',
    'A provider could not be connected, or a connection does not work any more.',
    {
      ...connection,
      code: ['text', 'Code of the error.'],
      why: ['text?', 'Why.'],
      leasesEnded: ['count?', 'Leases that ended with it.'],
    },
    { ...connectionExample, code: 'KX_CONNECTION_REAUTH_REQUIRED', leasesEnded: 1 },
  ),
  'secret.put': kind(
    'server',
    'A static key was stored or replaced. Its value is nowhere in the record.',
    { ...connection, ...shared, version: ['count', 'Version of the connection.'] },
    { ...connectionExample, provider: 'stripe', shared: true, version: 2 },
  ),
  'provider.added': kind(
    'server',
    'A provider was added.',
    {
      ...provider,
      kind: ['text', '`oauth2`, `static` or what mints.'],
      catalogueId: ['null|text', 'Entry of the catalogue it was made of.'],
      attachedTo: ['texts', 'Agents that may have credentials of it.'],
      maxLoginAgeSeconds: ['null|count', 'How fresh the login must be.'],
      approval: ['any', 'Whether each use needs an approval.'],
      leaseTtlSeconds: ['null|count', 'How long leases live.'],
      settings: ['any?', 'Settings of its kind; nothing secret.'],
      issuer: ['null|text?', 'OAuth issuer.'],
      authorizationEndpoint: ['null|text?', 'OAuth endpoint.'],
      tokenEndpoint: ['null|text?', 'OAuth endpoint.'],
      revocationEndpoint: ['null|text?', 'OAuth endpoint.'],
      clientId: ['null|text?', 'OAuth client.'],
      scopes: ['null|texts?', 'Scopes that are asked for.'],
    },
    {
      ...{ ...providerExample, kind: 'static', catalogueId: 'stripe', attachedTo: ['claude'] },
      ...{ maxLoginAgeSeconds: null, approval: false, leaseTtlSeconds: 3600 },
    },
  ),
  'provider.removed': kind(
    'server',
    'A provider was removed.',
    { ...provider, ...leasesEnded, connections: ['count', 'Connections that ended with it.'] },
    { ...providerExample, connections: 1, leasesEnded: 0 },
  ),
  'provider.attached': kind(
    'server',
    'An agent may have credentials of a provider.',
    {
      ...provider,
      agent: ['text', 'The agent.'],
      scopes: ['null|texts', 'Up to which scopes; null: no bound.'],
    },
    { ...providerExample, agent: 'claude', scopes: null },
  ),
  'provider.detached': kind(
    'server',
    'An agent may not have credentials of a provider any more.',
    { ...provider, ...leasesEnded, agent: ['text', 'The agent.'] },
    { ...providerExample, agent: 'claude', leasesEnded: 1 },
  ),
  'member.added': kind(
    'server',
    'A person was added; `user` in the header is who did it.',
    { ...member, ...standing, name: ['text', 'Name of the person.'] },
    { member: id('usr', 2), name: 'Dev', role: 'member', groups: [] },
  ),
  'member.invited': kind(
    'server',
    'A person was invited.',
    {
      ...standing,
      invitation: ['text', '`inv_…`'],
      email: ['null|text', 'Address the invitation is for; null: whoever has it.'],
    },
    { invitation: id('inv', 1), email: 'dev@example.com', role: 'member', groups: [] },
  ),
  'member.claimed': kind(
    'server',
    'A person’s account was tied to an identity provider.',
    {
      ...member,
      issuer: ['text', 'Who vouches.'],
      subject: ['text', 'Their name there.'],
      email: ['null|text', 'Their address there.'],
    },
    { member: id('usr', 2), issuer: 'https://idp.example.com', subject: 'u-1', email: 'dev@example.com' },
  ),
  'member.changed': kindOf(
    'server',
    'A person has another role or other groups, or may log in again.',
    {
      when: 'role or groups changed',
      fields: {
        ...{ ...member, ...standing },
        from: ['text', 'Role before.'],
        identityProvider: ['text?', 'Identity provider that said so.'],
      },
      example: { member: id('usr', 2), from: 'member', role: 'admin', groups: ['ops'] },
    },
    {
      when: 'a suspension ended',
      fields: { ...member, restored: ['flag', 'True.'] },
      example: { member: id('usr', 2), restored: true },
    },
  ),
  'member.suspended': kind(
    'server',
    'A person may not log in any more; their logins, sessions and leases ended.',
    {
      ...member,
      logins: ['count', 'Logins that ended.'],
      sessions: ['count', 'Sessions that ended.'],
      leases: ['count', 'Leases that ended.'],
    },
    { member: id('usr', 2), logins: 1, sessions: 1, leases: 2 },
  ),
  'invitation.revoked': kind(
    'server',
    'An invitation was taken back.',
    { invitation: ['text', '`inv_…`'], email: ['null|text', 'Address it was for.'] },
    { invitation: id('inv', 1), email: null },
  ),
  'identity_provider.added': kind(
    'server',
    'An identity provider may vouch for people.',
    {
      name: ['text', 'Its name.'],
      issuer: ['text', 'Its issuer.'],
      clientId: ['text', 'Our client there.'],
      emailDomains: ['texts', 'Domains it speaks for; empty: all.'],
      admitsNewMembers: ['flag', 'Whoever it vouches for becomes a member.'],
      groupRoles: ['any', 'Which of its groups give which role.'],
    },
    {
      ...{
        name: 'corp',
        issuer: 'https://idp.example.com',
        clientId: 'kontext',
        emailDomains: ['example.com'],
      },
      ...{ admitsNewMembers: false, groupRoles: '{}' },
    },
  ),
  'identity_provider.removed': kind(
    'server',
    'An identity provider vouches for nobody any more.',
    { name: ['text', 'Its name.'], issuer: ['text', 'Its issuer.'] },
    { name: 'corp', issuer: 'https://idp.example.com' },
  ),
  'key.created': kind(
    'server',
    'A signing key was made.',
    {
      purpose: ['text', '`policy` or `log`.'],
      kid: ['text', 'Its id.'],
      publicJwk: ['text?', 'Its public half, as JSON.'],
    },
    { purpose: 'policy', kid: 'k1' },
  ),
  'audit.exported': kind(
    'server',
    'An export was made.',
    {
      export: ['text', '`exp_…`'],
      format: ['text', '`bundle` or `csv`.'],
      query: ['text', 'What was asked for.'],
      payloads: ['flag', 'Whether payloads are in it.'],
      events: ['count', 'Events in it.'],
      bytes: ['count', 'Its length.'],
      sha256: ['text', 'Its hash, hex.'],
    },
    {
      export: id('exp', 1),
      format: 'jsonl',
      query: 'since:7d',
      payloads: true,
      events: 12,
      bytes: 9000,
      sha256: 'a'.repeat(64),
    },
  ),
  'audit.settings_changed': kind(
    'server',
    'Other payloads are kept, or for another time.',
    {
      old: ['object', '`payloads` and `retentionClass` before.'],
      new: ['object', 'The same from now on.'],
    },
    {
      old: { payloads: 'summary', retentionClass: 'days-90' },
      new: { payloads: 'full', retentionClass: 'days-90' },
    },
  ),
  'payload.withheld': kind(
    'server',
    'A secret was found in a payload a client sent: payload and salt were not stored, the header was.',
    {
      stream: ['text', 'Stream of the event.'],
      seq: ['count', 'Its place there.'],
      rules: ['texts', 'Rules that found something; `unreadable`: it could not be searched to its end.'],
    },
    { stream: id('str', 5), seq: 7, rules: ['github-token'] },
  ),
  'payload.erased': kind(
    'server',
    'Payloads were erased for good; headers, hashes and chains stay.',
    {
      ...reason,
      event: ['text?', 'Of this event.'],
      session: ['text?', 'Of this session.'],
      member: ['text?', 'Of this person.'],
      erased: ['count', 'How many.'],
      held: ['count', 'Under a hold, and so left.'],
      questions: ['count', 'Questions whose call was erased, too.'],
    },
    { session: id('ses', 3), reason: 'asked for by the person', erased: 40, held: 0, questions: 1 },
  ),
  'payload.held': kind('server', 'The payloads of a session are kept until they are let go.', hold, {
    ...{ session: id('ses', 3), reason: 'a case', payloads: 40 },
  }),
  'payload.released': kind(
    'server',
    'A hold ended.',
    {
      ...hold,
      erased: ['count', 'Payloads whose time had passed meanwhile.'],
      retentionClass: ['text', 'Class the others are in now.'],
    },
    { session: id('ses', 3), reason: 'closed', payloads: 40, erased: 0, retentionClass: 'days-90' },
  ),
  'sink.added': kind(
    'server',
    'Events are sent to one place more.',
    {
      ...sink,
      kinds: ['texts', 'Which events; empty: all.'],
      payloads: ['flag', 'With their payloads.'],
      since: ['null|instant', 'From when on.'],
    },
    { ...sinkExample, kinds: [], payloads: false, since: null },
  ),
  'sink.changed': kind(
    'server',
    'A sink was halted, or goes on.',
    { ...sink, state: ['text', 'State now.'], before: ['text', 'State before.'] },
    { ...sinkExample, state: 'paused', before: 'active' },
  ),
  'sink.removed': kind('server', 'A sink was removed.', sink, sinkExample),
  'sink.replayed': kind(
    'server',
    'Events are sent to a sink again.',
    {
      ...sink,
      since: ['any', 'From when on.'],
      deadLetters: ['flag', 'Those it had refused.'],
      segments: ['count', 'How many segments.'],
    },
    { ...sinkExample, since: null, deadLetters: true, segments: 3 },
  ),
  'sink.disabled': kind(
    'server',
    'A sink took nothing for days, and is sent nothing any more.',
    { ...sink, reason: ['text', 'What it answered last.'] },
    { ...sinkExample, reason: 'status 410' },
  ),
  'agent.changed': kind(
    'server',
    'An agent was registered, changed, disabled or enabled.',
    {
      change: ['text', '`registered`, `changed`, `disabled`, `enabled`.'],
      description: ['text?', 'What it is.'],
      ceilingScopes: ['null|texts?', 'Most scopes it may have.'],
      maxTtlSeconds: ['count?', 'Longest life of its leases.'],
      sessions: ['count?', 'Sessions that ended.'],
      leases: ['count?', 'Leases that ended.'],
    },
    { change: 'disabled', sessions: 1, leases: 2 },
  ),
  'tamper.fork': kind(
    'server',
    'A batch was refused: it forked a stream, was for a stream of somebody else, or had a header with hidden characters or a secret.',
    {
      stream: ['text', 'The stream.'],
      seq: ['count?', 'First place where it is another one, or its header is refused.'],
      offeredChain: ['text?', 'Chain value that was offered, hex.'],
      offeredHeader: ['null|text?', 'Header that was offered, redacted.'],
      reason: ['text?', 'Why it was refused, where it is no fork.'],
    },
    { stream: id('str', 5), reason: 'not the stream of this user' },
  ),
} as const;
