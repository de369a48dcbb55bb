/**
 * What a person is asked to confirm, one sentence per action, as the page shows it after "Confirm to ".
 *
 * Rules: name everything that decides what the action does; never the value of a secret. What comes from the request stands in
 * quotes, so that a name cannot pose as part of the sentence; whoever shows it makes bidi and invisible characters visible.
 */
import type {
  AddIdentityProviderRequest,
  AddProviderRequest,
  AttachProviderRequest,
  DetachProviderRequest,
  DisableAgentRequest,
  InviteMemberRequest,
  Provider,
  PutAgentRequest,
  PutSecretRequest,
  RemoveIdentityProviderRequest,
  RemoveProviderRequest,
  RevokeLeasesRequest,
  RevokeLoginsRequest,
  SetMemberRequest,
  SuspendMemberRequest,
} from '@kontext/protocol';
import { ProviderKind } from '@kontext/protocol';
import type { Caller } from '../caller.ts';

/** A text of the request in quotes; quotes and control characters in it are escaped. */
const quote = (text: string): string => JSON.stringify(text);
const quoteAll = (texts: readonly string[]): string => texts.map(quote).join(' ');

/** Of a provider. */
export function addProvider({ provider }: AddProviderRequest): string {
  if (provider === undefined) return 'add a provider without a name';
  return `add the provider ${quote(provider.name)} (${facts(provider).join(', ')})`;
}

function facts(provider: Provider): readonly string[] {
  const { catalogueId, issuer, tokenEndpoint, authorizationEndpoint, revocationEndpoint } = provider;
  const named = [
    ['from the catalogue entry', catalogueId],
    ['issuer', issuer],
    ['authorization endpoint', authorizationEndpoint],
    ['token endpoint', tokenEndpoint],
    ['revocation endpoint', revocationEndpoint],
    ['client id', provider.clientId],
    ['scopes', provider.scopes.join(' ')],
    ['settings', provider.settingsJson],
  ] as const;
  const said = named.filter(([, value]) => value !== '').map(([name, value]) => `${name} ${quote(value)}`);
  const agents = quoteAll(provider.agents.map(({ agent }) => agent));
  const kind = (ProviderKind[provider.kind] ?? 'unknown').toLowerCase();
  return [`kind ${kind}`, ...said, ...(agents === '' ? [] : [`for the agents ${agents}`])];
}

/** Of taking a provider away. */
export const removeProvider = ({ name, force }: RemoveProviderRequest): string =>
  `remove the provider ${quote(name)}${force ? ' with all its connections' : ''}`;

/** Of letting an agent have a provider's credentials. */
export const attachProvider = ({ provider, agent, scopes }: AttachProviderRequest): string =>
  `let the agent ${quote(agent)} have credentials of ${quote(provider)}, ${scopes.length === 0 ? 'with any scope' : `up to ${quoteAll(scopes)}`}`;

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
  `invite ${quote(email)} as ${quote(role || 'member')}${groups.length === 0 ? '' : `, with the groups ${quoteAll(groups)}`}`;

/** Of an identity provider: whoever it vouches for can log in. */
export function addIdentityProvider({ identityProvider: wanted }: AddIdentityProviderRequest): string {
  if (wanted === undefined) return 'add an identity provider without a name';
  const roles = Object.entries(wanted.groupRoles).map(([group, role]) => `${quote(group)} as ${quote(role)}`);
  const domains = wanted.emailDomains.length === 0 ? '' : ` for ${quoteAll(wanted.emailDomains)}`;
  const admits = wanted.admitsNewMembers ? ', admitting new members without an invitation' : '';
  const mapped = roles.length === 0 ? '' : `, with the groups ${roles.join(', ')}`;
  return `let ${quote(wanted.issuer)} (${quote(wanted.name)}, client id ${quote(wanted.clientId)}) vouch for people${domains}${admits}${mapped}`;
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
