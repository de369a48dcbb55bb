/**
 * What a person is asked to confirm, one sentence per action, as the page shows it after "Confirm to ".
 *
 * Rules: name everything that decides what the action does; never the value of a secret. The texts come from the request:
 * whoever shows the sentence makes control characters visible.
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

/** Of a provider. */
export function addProvider({ provider }: AddProviderRequest): string {
  if (provider === undefined) return 'add a provider without a name';
  return `add the provider ${provider.name} (${facts(provider).join(', ')})`;
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
  const said = named.filter(([, value]) => value !== '').map(([name, value]) => `${name} ${value}`);
  const agents = provider.agents.map(({ agent }) => agent).join(' ');
  const kind = (ProviderKind[provider.kind] ?? 'unknown').toLowerCase();
  return [`kind ${kind}`, ...said, ...(agents === '' ? [] : [`for the agents ${agents}`])];
}

/** Of taking a provider away. */
export const removeProvider = ({ name, force }: RemoveProviderRequest): string =>
  `remove the provider ${name}${force ? ' with all its connections' : ''}`;

/** Of letting an agent have a provider's credentials. */
export const attachProvider = ({ provider, agent, scopes }: AttachProviderRequest): string =>
  `let the agent ${agent} have credentials of ${provider}, ${scopes.length === 0 ? 'with any scope' : `up to ${scopes.join(' ')}`}`;

/** Of taking that back. */
export const detachProvider = ({ provider, agent }: DetachProviderRequest): string =>
  `take credentials of ${provider} away from the agent ${agent}`;

/** Of a static key. Its value is not shown, but the confirmation holds for this value alone. */
export const putSecret = ({ provider, name, shared }: PutSecretRequest): string =>
  `store a secret for ${provider}/${name || 'default'}, ${shared ? 'shared with the whole organisation' : 'for you alone'}`;

/** Of an agent's ceilings. */
export const putAgent = ({ name, ceilingScopes, maxTtlSeconds }: PutAgentRequest): string =>
  `set the agent ${name} to ${ceilingScopes.length === 0 ? 'any scope' : `at most ${ceilingScopes.join(' ')}`}, leases of ${
    maxTtlSeconds === 0 ? 'the usual length' : `at most ${maxTtlSeconds} s`
  }`;

/** Of an agent's end or return. */
export const disableAgent = ({ name, enable }: DisableAgentRequest): string =>
  enable ? `enable the agent ${name} again` : `disable the agent ${name} and end all it does`;

/** Of a role. */
export const setMember = ({ userId, role, groups }: SetMemberRequest): string =>
  `make the member ${userId} ${role}${groups.length === 0 ? ', without groups' : `, with the groups ${groups.join(' ')}`}`;

/** Of a suspension, or its end. */
export const suspendMember = ({ userId, restore }: SuspendMemberRequest): string =>
  restore
    ? `let the member ${userId} in again`
    : `suspend the member ${userId} and end all their logins and sessions`;

/** Of an invitation. */
export const inviteMember = ({ email, role, groups }: InviteMemberRequest): string =>
  `invite ${email} as ${role}${groups.length === 0 ? '' : `, with the groups ${groups.join(' ')}`}`;

/** Of an identity provider: whoever it vouches for can log in. */
export function addIdentityProvider({ identityProvider: wanted }: AddIdentityProviderRequest): string {
  if (wanted === undefined) return 'add an identity provider without a name';
  const roles = Object.entries(wanted.groupRoles).map(([group, role]) => `${group} as ${role}`);
  const domains = wanted.emailDomains.length === 0 ? '' : ` for ${wanted.emailDomains.join(' ')}`;
  const admits = wanted.admitsNewMembers ? ', admitting new members without an invitation' : '';
  const mapped = roles.length === 0 ? '' : `, with the groups ${roles.join(', ')}`;
  return `let ${wanted.issuer} (${wanted.name}, client id ${wanted.clientId}) vouch for people${domains}${admits}${mapped}`;
}

/** Of its end. */
export const removeIdentityProvider = ({ name }: RemoveIdentityProviderRequest): string =>
  `remove the identity provider ${name} and end the logins it vouched for`;

/** Of logins: one of the caller's own needs no confirmation. */
export function revokeLogins(
  { loginId, userId }: RevokeLoginsRequest,
  caller: Pick<Caller, 'userId'>,
): string | null {
  const isOwn = userId === '' || userId === caller.userId;
  if (isOwn && loginId !== '') return null;
  const whose = isOwn ? 'yours' : `the member ${userId}`;
  return loginId === '' ? `end every login of ${whose}` : `end the login ${loginId} of ${whose}`;
}

/** Of leases: one lease, one session, or only looking needs no confirmation. */
export function revokeLeases({ filter, dryRun }: RevokeLeasesRequest): string | null {
  if (dryRun) return null;
  switch (filter.case) {
    case 'connectionId':
      return `end every lease of the connection ${filter.value}`;
    case 'userId':
      return `end every lease of the member ${filter.value}`;
    case 'agent':
      return `end every lease of the agent ${filter.value}`;
    case 'provider':
      return `end every lease of the provider ${filter.value}`;
    case 'everything':
      return 'end every lease of the organisation';
    default:
      return null;
  }
}
