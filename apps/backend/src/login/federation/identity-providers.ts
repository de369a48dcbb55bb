import { randomBytes } from 'node:crypto';
import { createId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { Secret } from '@kontext/redaction';
import { appendServerEvent } from '../../audit/append-server-event.ts';
import { forgetRefreshSecretsOf } from '../../store/queries/identities.ts';
import {
  deleteIdentityProvider,
  findProviderByName,
  type IdentityProviderRow,
  insertIdentityProvider,
  listForeignDomains,
  listIdentityProviders as listRows,
} from '../../store/queries/identity-providers.ts';
import { type Role, roles } from '../../store/queries/local-accounts.ts';
import { isUniqueViolation } from '../../store/store-errors.ts';
import { endLogins } from '../end-logins.ts';
import { type FederationDeps, systemScope } from './deps.ts';
import { isUsableUrl } from './discover-upstream.ts';
import { invalidProvider } from './upstream-errors.ts';
import { clientSecretContext, sealText } from './upstream-secrets.ts';

export type { IdentityProviderRow };

/** What an identity provider is described by; empty texts and zero mean the default. */
export interface IdentityProviderInput {
  readonly name: string;
  /** Exactly as in its metadata. */
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** `client_secret_basic` (default), `client_secret_post`, `private_key_jwt` or `none`. */
  readonly clientAuth: string;
  readonly scopes: readonly string[];
  readonly groupsClaim: string;
  readonly groupRoles: Readonly<Record<string, string>>;
  readonly emailDomains: readonly string[];
  readonly admitsNewMembers: boolean;
  /** 10 to 43,200; default 43,200. */
  readonly revalidateSeconds: number;
}

/** Who manages them: a user, or with null the server's own command line. */
export interface IdentityProviderManager {
  readonly orgId: string;
  readonly userId: string | null;
}

const clientAuths = ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'] as const;
/** identity.md §5: the upstream login is asked for again at least every 12 h. */
const maxRevalidateSeconds = 43_200;
const minRevalidateSeconds = 10;
const maxListed = 200;

type Manage = Pick<FederationDeps, 'store' | 'kms' | 'relyingParty' | 'appended' | 'local' | 'nowMs'>;

/**
 * Adds an identity provider to an organisation. Its metadata are fetched first: nothing is stored of one that cannot be used.
 *
 * @throws KontextError `KX_IDENTITY_PROVIDER_INVALID`, `KX_PROVIDER_UNREACHABLE`.
 */
export async function addIdentityProvider(
  deps: Manage,
  by: IdentityProviderManager,
  input: IdentityProviderInput,
): Promise<IdentityProviderRow> {
  const now = new Date(deps.nowMs());
  const { orgId } = by;
  const parsed = parseInput(input, deps.local);
  const id = createId('idp', now.getTime());
  const secret = input.clientSecret === '' ? null : new Secret(input.clientSecret);
  const sealed = secret && (await sealText(deps.kms, clientSecretContext(orgId, id), secret, now));
  const row: IdentityProviderRow = {
    ...parsed,
    ...{ id, orgId, clientSecretId: sealed?.id ?? null, createdAt: now, disabledAt: null },
    callbackId: randomBytes(18).toString('base64url'),
  };
  await deps.relyingParty.inspect({ provider: row, secret });
  const { name, issuer, clientId, emailDomains, admitsNewMembers } = row;
  const facts = { name, issuer, clientId, emailDomains, admitsNewMembers, groupRoles: row.groupRoles };
  try {
    await deps.store.transaction(systemScope, async (tx) => {
      const [taken] = await listForeignDomains(tx, orgId, emailDomains);
      if (taken !== undefined) throw invalidProvider(issuer, `${taken} is a domain of another organisation`);
      await insertIdentityProvider(tx, row, sealed);
      const event = { kind: 'identity_provider.added', user: by.userId, facts } as const;
      await appendServerEvent(tx, { orgId, sessionId: null }, event, now);
    });
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
    throw invalidProvider(issuer, 'the organisation has one of that name, or with that issuer and client');
  }
  deps.appended.notify(orgId);
  return row;
}

/** Identity providers of an organisation, by name; our secrets there are not shown. */
export const listIdentityProviders = (
  deps: Pick<FederationDeps, 'store'>,
  orgId: string,
): Promise<IdentityProviderRow[]> =>
  deps.store.transaction({ role: 'read', orgId }, (tx) => listRows(tx, orgId));

/**
 * Removes an identity provider. Everybody it vouched for is logged out: nobody vouches for them any more.
 *
 * @returns How many logins of terminals ended.
 * @throws KontextError `KX_NOT_FOUND`.
 */
export async function removeIdentityProvider(
  deps: Pick<FederationDeps, 'store' | 'appended' | 'nowMs'>,
  { orgId, userId }: IdentityProviderManager,
  name: string,
): Promise<number> {
  const now = new Date(deps.nowMs());
  const ended = await deps.store.transaction(systemScope, async (tx) => {
    const found = await findProviderByName(tx, orgId, name);
    if (found === null) {
      throw new KontextError('KX_NOT_FOUND', `there is no identity provider named ${name}`, {
        why: 'the organisation has none of that name',
      });
    }
    const { id, issuer } = found.provider;
    await forgetRefreshSecretsOf(tx, id);
    await deleteIdentityProvider(tx, found.provider);
    const { logins } = await endLogins(
      tx,
      orgId,
      { identityProviderId: id },
      'identity_provider_removed',
      now,
    );
    const event = { kind: 'identity_provider.removed', user: userId, facts: { name, issuer } } as const;
    await appendServerEvent(tx, { orgId, sessionId: null }, event, now);
    return logins;
  });
  deps.appended.notify(orgId);
  return ended;
}

type Parsed = Omit<
  IdentityProviderRow,
  'id' | 'orgId' | 'clientSecretId' | 'createdAt' | 'disabledAt' | 'callbackId'
>;

/** @throws KontextError `KX_IDENTITY_PROVIDER_INVALID`. */
function parseInput(input: IdentityProviderInput, local: boolean): Parsed {
  const { name, issuer, clientId } = input;
  const refuse = (why: string): never => {
    throw invalidProvider(issuer.slice(0, 200), why);
  };
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(name)) refuse('its name is not made of a-z, 0-9 and -');
  if (issuer.length > 500 || !isUsableUrl(issuer, local)) refuse('its issuer is not an https URL');
  // OIDC Discovery §3: no query, no fragment.
  if (/[?#\s]/.test(issuer) || new URL(issuer).username !== '')
    refuse('its issuer has a query, a fragment or a user');
  if (!/^[\x21-\x7e]{1,500}$/.test(clientId)) refuse('its client id is missing');
  const clientAuth = clientAuths.find((one) => one === (input.clientAuth || 'client_secret_basic'));
  if (clientAuth === undefined) return refuse(`there is no client authentication ${input.clientAuth}`);
  const wantsSecret = clientAuth === 'client_secret_basic' || clientAuth === 'client_secret_post';
  if (wantsSecret !== (input.clientSecret !== ''))
    refuse(`${clientAuth} ${wantsSecret ? 'needs a' : 'takes no'} client secret`);
  if (input.clientSecret.length > 4096) refuse('its client secret is too long');
  if (!input.scopes.every((scope) => /^[\x21\x23-\x5b\x5d-\x7e]{1,200}$/.test(scope)))
    refuse('a scope is not one (RFC 6749 §3.3)');
  const groupsClaim = input.groupsClaim || 'groups';
  if (!/^[\x21-\x7e]{1,200}$/.test(groupsClaim)) refuse('its groups claim is not a name');
  const revalidateSeconds = input.revalidateSeconds || maxRevalidateSeconds;
  if (!(revalidateSeconds >= minRevalidateSeconds && revalidateSeconds <= maxRevalidateSeconds))
    refuse(`it has to be asked again after ${minRevalidateSeconds} to ${maxRevalidateSeconds} seconds`);
  return {
    ...{ name, issuer, clientId, clientAuth, groupsClaim, revalidateSeconds },
    scopes: [...new Set(input.scopes)].slice(0, maxListed),
    groupRoles: JSON.stringify(parseRoles(input.groupRoles, refuse)),
    emailDomains: parseDomains(input.emailDomains, refuse),
    admitsNewMembers: input.admitsNewMembers,
  };
}

function parseRoles(
  groupRoles: Readonly<Record<string, string>>,
  refuse: (why: string) => never,
): Readonly<Record<string, Role>> {
  const entries = Object.entries(groupRoles);
  if (entries.length > maxListed) refuse(`more than ${maxListed} groups are mapped`);
  return Object.fromEntries(
    entries.map(([group, name]) => {
      const role = roles.find((one) => one === name);
      if (group === '' || group.length > 200 || role === undefined)
        return refuse(`there is no role ${name.slice(0, 40)} (there are ${roles.join(', ')})`);
      return [group, role] as const;
    }),
  );
}

function parseDomains(domains: readonly string[], refuse: (why: string) => never): string[] {
  if (domains.length > maxListed) refuse(`more than ${maxListed} domains`);
  const lower = domains.map((domain) => domain.trim().toLowerCase());
  const label = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';
  const pattern = new RegExp(`^${label}(?:\\.${label})+$`);
  if (!lower.every((domain) => domain.length <= 253 && pattern.test(domain)))
    refuse('an e-mail domain is not one');
  return [...new Set(lower)];
}
