import { readFileSync } from 'node:fs';
import { KontextError } from '@kontext/errors';
import type { Config } from '../config.ts';
import { backchannelUrl, loginCallbackUrl } from '../login/federation/deps.ts';
import {
  addIdentityProvider,
  type IdentityProviderInput,
  listIdentityProviders,
  removeIdentityProvider,
} from '../login/federation/identity-providers.ts';
import { createRelyingParty } from '../login/federation/relying-party.ts';
import { loadServerKeys } from '../login/server-keys.ts';
import { createSafeFetch } from '../providers/safe-fetch.ts';
import type { IdentityProviderRow } from '../store/queries/identity-providers.ts';
import { findOrgBySlug } from '../store/queries/local-accounts.ts';
import type { Store } from '../store/store.ts';
import { openVault, withStore } from './open-backend.ts';

/** What `kontext-backend idp add` was given. */
export interface AddIdentityProviderOptions extends Omit<IdentityProviderInput, 'clientSecret'> {
  readonly orgSlug: string;
  /** File with the client secret; `-` reads standard input; null: there is none. */
  readonly clientSecretFile: string | null;
}

/**
 * `kontext-backend idp add`: adds an identity provider, the first one above all: nobody can log in and do it by RPC yet.
 *
 * @throws KontextError `KX_IDENTITY_PROVIDER_INVALID`, `KX_PROVIDER_UNREACHABLE`, `KX_REQUEST_INVALID`.
 */
export const addIdentityProviderCommand = (
  config: Config,
  { orgSlug, clientSecretFile, ...input }: AddIdentityProviderOptions,
): Promise<IdentityProviderRow> =>
  withStore(config, async (store) => {
    const orgId = await findOrgId(store, orgSlug);
    const kms = await openVault(config, store);
    const { signing } = await loadServerKeys(store, kms, Date.now);
    const [signingKey] = signing;
    if (signingKey === undefined) throw new KontextError('KX_INTERNAL', 'there is no signing key');
    const { local, outboundHosts } = config;
    const fetch = createSafeFetch({ allowLoopback: local, allowedHosts: outboundHosts });
    const relyingParty = createRelyingParty({ fetch, local, signingKey, nowMs: Date.now });
    const clientSecret = clientSecretFile === null ? '' : readSecret(clientSecretFile);
    const deps = { store, kms, relyingParty, local, nowMs: Date.now, appended: { notify: () => undefined } };
    return addIdentityProvider(deps, { orgId, userId: null }, { ...input, clientSecret });
  });

/** `kontext-backend idp ls`. */
export const listIdentityProvidersCommand = (
  config: Config,
  orgSlug: string,
): Promise<IdentityProviderRow[]> =>
  withStore(config, async (store) => listIdentityProviders({ store }, await findOrgId(store, orgSlug)));

/** `kontext-backend idp rm`. @returns How many logins of terminals ended. */
export const removeIdentityProviderCommand = (
  config: Config,
  orgSlug: string,
  name: string,
): Promise<number> =>
  withStore(config, async (store) => {
    const by = { orgId: await findOrgId(store, orgSlug), userId: null };
    return removeIdentityProvider(
      { store, nowMs: Date.now, appended: { notify: () => undefined } },
      by,
      name,
    );
  });

/** What to register at the provider, and how it is known here. */
export function describeIdentityProvider(
  { apiUrl }: Pick<Config, 'apiUrl'>,
  row: IdentityProviderRow,
): string[] {
  return [
    `identity provider ${row.name}: ${row.issuer}, client ${row.clientId}, ${row.clientAuth}`,
    `  callback URL:            ${loginCallbackUrl(apiUrl, row.callbackId)}`,
    `  back-channel logout URL: ${backchannelUrl(apiUrl, row.callbackId)}`,
    ...(row.clientAuth === 'private_key_jwt' ? [`  our key set:             ${apiUrl}/oauth/jwks`] : []),
  ];
}

async function findOrgId(store: Store, slug: string): Promise<string> {
  const org = await store.transaction({ role: 'system', orgId: null }, (tx) => findOrgBySlug(tx, slug));
  if (org !== null) return org.id;
  throw new KontextError('KX_REQUEST_INVALID', `there is no organisation named ${slug}`, {
    hint: 'make it with `kontext-backend org create`',
  });
}

/** The last line break belongs to the file, not to the secret. */
function readSecret(path: string): string {
  try {
    return readFileSync(path === '-' ? 0 : path, 'utf8').replace(/\r?\n$/, '');
  } catch (cause) {
    throw new KontextError('KX_REQUEST_INVALID', 'the file with the client secret cannot be read', { cause });
  }
}
