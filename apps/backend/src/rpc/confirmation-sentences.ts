/**
 * What a person is asked to confirm, one sentence per action, as the page shows it after "Confirm to ".
 *
 * Rules: name everything that decides what the action does; never the value of a secret. What comes from the request stands in
 * quotes, so that a name cannot pose as part of the sentence; whoever shows it makes bidi and invisible characters visible.
 */
import type {
  AddIdentityProviderRequest,
  AddProviderRequest,
  AddSinkRequest,
  AddWebhookRequest,
  AttachProviderRequest,
  DetachProviderRequest,
  DisableAgentRequest,
  ErasePayloadsRequest,
  HoldPayloadsRequest,
  InviteMemberRequest,
  Provider,
  PublishPolicyRequest,
  PutAgentRequest,
  PutSecretRequest,
  RemoveIdentityProviderRequest,
  RemoveProviderRequest,
  RemoveSinkRequest,
  RemoveWebhookRequest,
  ReplaySinkRequest,
  RevokeLeasesRequest,
  RevokeLoginsRequest,
  SetAuditSettingsRequest,
  SetMemberRequest,
  SetSinkRequest,
  SuspendMemberRequest,
  WithdrawPolicyRequest,
} from '@kontext/protocol';
import { ClientAuth, Mode, PayloadSetting, ProviderKind, SinkState, StaleRule } from '@kontext/protocol';
import type { Caller } from '../caller.ts';

/** A text of the request in quotes; quotes and control characters in it are escaped. */
const quote = (text: string): string => JSON.stringify(text);
/** What an address, an id or a setting holds beyond ASCII is escaped: a Cyrillic letter must not pass for a Latin one. */
const quoteAscii = (text: string): string => toAscii(quote(text));
const toAscii = (text: string): string =>
  text.replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
const quoteAll = (texts: readonly string[]): string => texts.map(quote).join(' ');

/** Of a provider. */
export function addProvider({ provider, clientSecret }: AddProviderRequest): string {
  if (provider === undefined) return 'add a provider without a name';
  const said = [...facts(provider, clientSecret !== ''), ...bounds(provider)];
  return `add the provider ${quoteAscii(provider.name)} (${said.join(', ')})`;
}

function facts(provider: Provider, hasSecret: boolean): readonly string[] {
  const { catalogueId, issuer, tokenEndpoint, authorizationEndpoint, revocationEndpoint } = provider;
  const named = [
    ['from the catalogue entry', catalogueId],
    ['issuer', issuer],
    ['authorization endpoint', authorizationEndpoint],
    ['token endpoint', tokenEndpoint],
    ['revocation endpoint', revocationEndpoint],
    ['client id', provider.clientId],
    ['scopes', provider.scopes.join(' ')],
  ] as const;
  const said = named
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `${name} ${quoteAscii(value)}`);
  const settings = provider.settingsJson === '' ? [] : [`settings ${readSettings(provider.settingsJson)}`];
  const auth =
    provider.clientAuth === 0 ? [] : [`client authentication ${nameOf(ClientAuth, provider.clientAuth)}`];
  const secret = hasSecret ? ['with a client secret'] : [];
  return [`kind ${nameOf(ProviderKind, provider.kind)}`, ...said, ...auth, ...secret, ...settings];
}

/** As they will be read: of a member that stands there twice the last one counts, and an escaped letter is that letter. */
function readSettings(text: string): string {
  try {
    return toAscii(JSON.stringify(JSON.parse(text)));
  } catch {
    return quoteAscii(text);
  }
}

/** Who gets its credentials, and under which conditions. */
function bounds({ agents, needsApproval, maxLoginAgeSeconds, leaseTtlSeconds }: Provider): readonly string[] {
  const attached = agents.map(({ agent, scopes }) => `${quoteAscii(agent)} ${upTo(scopes)}`);
  return [
    attached.length === 0
      ? 'for the agents this backend attaches by itself'
      : `for the agents ${attached.join(', ')}`,
    needsApproval ? 'asking a person in each session' : 'without asking in each session',
    maxLoginAgeSeconds === 0 ? 'for logins of any age' : `for logins of at most ${maxLoginAgeSeconds} s`,
    leaseTtlSeconds === 0
      ? 'leases as long as the agent may have them'
      : `leases of at most ${leaseTtlSeconds} s`,
  ];
}

const upTo = (scopes: readonly string[]): string =>
  scopes.length === 0 ? 'with any scope' : `up to ${scopes.map(quoteAscii).join(' ')}`;

const nameOf = (names: Readonly<Record<number, string>>, value: number): string =>
  (names[value] ?? 'unknown').toLowerCase();

/** Of taking a provider away. */
export const removeProvider = ({ name, force }: RemoveProviderRequest): string =>
  `remove the provider ${quote(name)}${force ? ' with all its connections' : ''}`;

/** Of letting an agent have a provider's credentials. */
export const attachProvider = ({ provider, agent, scopes }: AttachProviderRequest): string =>
  `let the agent ${quoteAscii(agent)} have credentials of ${quoteAscii(provider)}, ${upTo(scopes)}`;

/** Of taking that back. */
export const detachProvider = ({ provider, agent }: DetachProviderRequest): string =>
  `take credentials of ${quote(provider)} away from the agent ${quote(agent)}`;

/** Of a static key. Its value is not shown, but the confirmation holds for this value alone. */
export const putSecret = ({ provider, name, shared }: PutSecretRequest): string =>
  `store a secret for ${quote(`${provider}/${name || 'default'}`)}, ${shared ? 'shared with the whole organisation' : 'for you alone'}`;

/** Of an agent's ceilings. */
export const putAgent = ({ name, ceilingScopes, maxTtlSeconds }: PutAgentRequest): string =>
  `set the agent ${quote(name)} to ${ceilingScopes.length === 0 ? 'any scope' : `at most ${quoteAll(ceilingScopes)}`}, leases of ${
    maxTtlSeconds === 0 ? 'the usual length' : `at most ${maxTtlSeconds} s`
  }`;

/** Of an agent's end or return. */
export const disableAgent = ({ name, enable }: DisableAgentRequest): string =>
  enable ? `enable the agent ${quote(name)} again` : `disable the agent ${quote(name)} and end all it does`;

/** Of a role. */
export const setMember = ({ userId, role, groups }: SetMemberRequest): string =>
  `make the member ${quote(userId)} ${quote(role)}${groups.length === 0 ? ', without groups' : `, with the groups ${quoteAll(groups)}`}`;

/** Of a suspension, or its end. */
export const suspendMember = ({ userId, restore }: SuspendMemberRequest): string =>
  restore
    ? `let the member ${quote(userId)} in again`
    : `suspend the member ${quote(userId)} and end all their logins and sessions`;

/** Of an invitation. */
export const inviteMember = ({ email, role, groups }: InviteMemberRequest): string =>
  `invite ${quoteAscii(email)} as ${quote(role || 'member')}${groups.length === 0 ? '' : `, with the groups ${quoteAll(groups)}`}`;

/** Of an identity provider: whoever it vouches for can log in. */
export function addIdentityProvider({ identityProvider: wanted }: AddIdentityProviderRequest): string {
  if (wanted === undefined) return 'add an identity provider without a name';
  const roles = Object.entries(wanted.groupRoles).map(([group, role]) => `${quote(group)} as ${quote(role)}`);
  const { groupsClaim, scopes, clientAuth, revalidateSeconds } = wanted;
  const domains =
    wanted.emailDomains.length === 0 ? '' : ` for ${wanted.emailDomains.map(quoteAscii).join(' ')}`;
  const parts = [
    wanted.admitsNewMembers
      ? 'admitting new members without an invitation'
      : 'admitting whom somebody invited',
    ...(roles.length === 0 ? [] : [`with the groups ${roles.join(', ')}`]),
    ...(groupsClaim === '' ? [] : [`read from the claim ${quoteAscii(groupsClaim)}`]),
    ...(scopes.length === 0 ? [] : [`scopes ${scopes.map(quoteAscii).join(' ')}`]),
    ...(clientAuth === '' ? [] : [`client authentication ${quoteAscii(clientAuth)}`]),
    ...(revalidateSeconds === 0 ? [] : [`asked again after ${revalidateSeconds} s`]),
  ];
  return `let ${quoteAscii(wanted.issuer)} (${quoteAscii(wanted.name)}, client id ${quoteAscii(wanted.clientId)}) vouch for people${domains}, ${parts.join(', ')}`;
}

/** Of its end. */
export const removeIdentityProvider = ({ name }: RemoveIdentityProviderRequest): string =>
  `remove the identity provider ${quote(name)} and end the logins it vouched for`;

/** Of logins: one of the caller's own needs no confirmation. */
export function revokeLogins(
  { loginId, userId }: RevokeLoginsRequest,
  caller: Pick<Caller, 'userId'>,
): string | null {
  const isOwn = userId === '' || userId === caller.userId;
  if (isOwn && loginId !== '') return null;
  const whose = isOwn ? 'yours' : `the member ${quote(userId)}`;
  return loginId === '' ? `end every login of ${whose}` : `end the login ${quote(loginId)} of ${whose}`;
}

/** Of leases: one lease, one session, or only looking needs no confirmation. */
export function revokeLeases({ filter, dryRun }: RevokeLeasesRequest): string | null {
  if (dryRun) return null;
  switch (filter.case) {
    case 'connectionId':
      return `end every lease of the connection ${quote(filter.value)}`;
    case 'userId':
      return `end every lease of the member ${quote(filter.value)}`;
    case 'agent':
      return `end every lease of the agent ${quote(filter.value)}`;
    case 'provider':
      return `end every lease of the provider ${quote(filter.value)}`;
    case 'everything':
      return 'end every lease of the organisation';
    default:
      return null;
  }
}

/** Of a publication. */
export function publishPolicy({ version, group, mode, staleRule, reason }: PublishPolicyRequest): string {
  const whom = group === '' ? 'everybody' : `the group ${quoteAscii(group)}`;
  const how = mode === Mode.OBSERVE ? 'observe: nothing is blocked' : 'enforce: what it denies is blocked';
  const stale = staleRule === StaleRule.DENY_SENSITIVE ? '' : ', and deny every call while it is stale';
  return `let version ${version} of the policy hold for ${whom} (${how}${stale}), because ${quote(reason)}`;
}

/** Of the end of a group's publication. */
export const withdrawPolicy = ({ group, reason }: WithdrawPolicyRequest): string =>
  `end the policy of the group ${quoteAscii(group)}, so that the one of everybody holds for it, because ${quote(reason)}`;

/** Of a webhook. */
export function addWebhook({ url, events }: AddWebhookRequest): string {
  const about = events.length === 0 ? 'approvals' : events.map(quoteAscii).join(' ');
  return `send messages about ${about} to ${quoteAscii(url)}`;
}

/** Of the end of a webhook. */
export const removeWebhook = ({ webhookId }: RemoveWebhookRequest): string =>
  `send no more messages to the webhook ${quoteAscii(webhookId)}`;

const payloadWords: Readonly<Record<PayloadSetting, string>> = {
  [PayloadSetting.UNSPECIFIED]: 'as now',
  [PayloadSetting.SUMMARY]: 'as summaries',
  [PayloadSetting.FULL]: 'redacted, in full',
  [PayloadSetting.OMITTED]: 'not at all',
};

/** Of what is kept of payloads. */
export function setAuditSettings({ payloads, retentionClass }: SetAuditSettingsRequest): string {
  const words = payloadWords[payloads] ?? 'in a way this version does not know';
  const where = retentionClass === '' ? '' : `, and in the retention class ${quoteAscii(retentionClass)}`;
  return `record the payloads of new events ${words}${where}`;
}

/** Of an erasure. */
export function erasePayloads({ eventId, sessionId, userId, reason }: ErasePayloadsRequest): string {
  const named = Object.entries({ event: eventId, session: sessionId, member: userId }).filter(
    ([, id]) => id !== '',
  );
  const what = named.map(([kind, id]) => `the ${kind} ${quoteAscii(id)}`).join(' and ');
  return `erase for good what was recorded beside the headers of ${what}, because ${quote(reason)}`;
}

/** Of a hold, and of its end. */
export const holdPayloads = ({ sessionId, hold, reason }: HoldPayloadsRequest): string =>
  hold
    ? `keep the payloads of the session ${quoteAscii(sessionId)} from erasure, because ${quote(reason)}`
    : `let the payloads of the session ${quoteAscii(sessionId)} be erased again, because ${quote(reason)}`;

/** Of a sink: every event leaves for there. */
export function addSink({ name, url, kinds, payloads, since }: AddSinkRequest): string {
  const which =
    kinds.length === 0 ? 'every audit event' : `the audit events ${kinds.map(quoteAscii).join(' ')}`;
  const from = since === undefined ? '' : `, those since ${instant(since.seconds)} too`;
  return `send ${which}${payloads ? ' with payloads' : ''} to ${quoteAscii(url)} as the sink ${quoteAscii(name)}${from}`;
}

/** What no date reaches is said as it came; what is done with it is refused. */
function instant(seconds: bigint): string {
  const date = new Date(Number(seconds) * 1000);
  return Number.isNaN(date.getTime()) ? `second ${seconds}` : date.toISOString();
}

/** Of events of the past that leave again; what was given up was confirmed with the sink. */
export const replaySink = ({ sinkId, since, deadLetters }: ReplaySinkRequest): string | null =>
  deadLetters || since === undefined
    ? null
    : `send the audit events since ${instant(since.seconds)}, also those from before it was added, to the sink ${quoteAscii(sinkId)}`;

/** Of a sink that is paused or goes on. */
export const setSink = ({ sinkId, state }: SetSinkRequest): string =>
  `${state === SinkState.PAUSED ? 'send nothing more for now to' : 'go on sending to'} the sink ${quoteAscii(sinkId)}`;

/** Of the end of a sink. */
export const removeSink = ({ sinkId }: RemoveSinkRequest): string =>
  `send no more audit events to the sink ${quoteAscii(sinkId)}`;
