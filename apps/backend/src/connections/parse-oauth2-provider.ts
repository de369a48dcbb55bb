/** The flow of an OAuth 2.0 provider, checked: endpoints, client, scopes; see `parse-provider.ts` for the order. */
import { endpointsOf, placesOf } from '../providers/catalogue/catalogue.ts';
import type { CatalogueEntry } from '../providers/catalogue/entry.ts';
import { loadClientKey } from '../providers/client-key.ts';
import type { Discovered } from '../providers/discover.ts';
import type { OAuth2Settings } from '../providers/settings.ts';
import type { ProviderRow } from '../store/queries/providers.ts';
import { parseScopes } from './placeholder-parts.ts';
import { checkEndpoint, invalid, limits } from './provider-checks.ts';
import type { ParsedProvider, ParseOptions, ProviderInput } from './provider-input.ts';

const visibleAscii = /^[\x20-\x7e]+$/;

/** What the flow settles of a provider; the rest is alike for every kind. */
export type OAuth2Parts = Omit<
  ParsedProvider,
  'name' | 'kind' | 'catalogueId' | 'maxLoginAgeSeconds' | 'approval' | 'leaseTtlSeconds'
>;

/**
 * Fills in what the catalogue entry or the issuer's metadata lend, and checks it.
 *
 * @throws KontextError as `parseProvider` does.
 */
export async function parseOAuth2(
  input: ProviderInput,
  entry: CatalogueEntry | null,
  settings: OAuth2Settings,
  options: ParseOptions,
): Promise<OAuth2Parts> {
  const { local } = options;
  const issuer = input.issuer ?? '';
  const lent = entry === null ? null : endpointsOf(entry, placesOf(entry, settings));
  const given = {
    authorizationEndpoint: input.authorizationEndpoint || (lent?.authorizationEndpoint ?? ''),
    tokenEndpoint: input.tokenEndpoint || (lent?.tokenEndpoint ?? ''),
    revocationEndpoint: input.revocationEndpoint || (lent?.revocationEndpoint ?? ''),
  };
  const found = issuer === '' ? null : await discoverMissing(issuer, given, options);
  const endpoints = {
    authorizationEndpoint: given.authorizationEndpoint || (found?.authorizationEndpoint ?? ''),
    tokenEndpoint: given.tokenEndpoint || (found?.tokenEndpoint ?? ''),
    revocationEndpoint: given.revocationEndpoint || (found?.revocationEndpoint ?? ''),
  };
  checkEndpoint('the authorization endpoint', endpoints.authorizationEndpoint, local);
  checkEndpoint('the token endpoint', endpoints.tokenEndpoint, local);
  if (endpoints.revocationEndpoint !== '') {
    checkEndpoint('the revocation endpoint', endpoints.revocationEndpoint, local);
  }
  if (settings.narrow !== undefined && (entry?.quirks.narrowUrl ?? '') === '') {
    throw invalid('settings narrow: this provider has no way to narrow its tokens');
  }
  if (entry !== null && lent !== null) checkPlaces(entry, lent, endpoints, settings);
  if (!visibleAscii.test(input.clientId) || input.clientId.length > limits.clientId) {
    throw invalid('the client id must be 1 to 512 visible characters');
  }
  const clientAuth = input.clientAuth ?? entry?.clientAuth ?? firstSupported(found);
  if (clientAuth === null) {
    throw invalid('the client authentication must be basic, post, private_key_jwt or none');
  }
  await checkSecret(clientAuth, input.clientSecret);
  const own = parseScopes(input.scopes);
  const scopes = own.length === 0 ? (entry?.scopes ?? []) : own;
  const whoAmI = userinfoOf(found, scopes, local);
  return {
    ...{ ...endpoints, issuer, clientAuth, scopes, clientId: input.clientId },
    ...{ clientSecret: input.clientSecret, settings: JSON.stringify({ ...whoAmI, ...settings }) },
  };
}

/** What was not given is read from the issuer; nothing is asked when nothing is missing. */
async function discoverMissing(
  issuer: string,
  given: { readonly authorizationEndpoint: string; readonly tokenEndpoint: string },
  { local, discover }: ParseOptions,
): Promise<Discovered | null> {
  checkEndpoint('the issuer', issuer, local);
  // RFC 8414 §2, OpenID Connect Discovery §4.1.
  if (issuer.includes('?')) throw invalid('the issuer must have no query');
  if (given.authorizationEndpoint !== '' && given.tokenEndpoint !== '') return null;
  return discover(issuer);
}

const preferred = ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'] as const;

/** RFC 8414 §2: a server that does not say supports client_secret_basic. */
function firstSupported(found: Discovered | null): ProviderRow['clientAuth'] | null {
  if (found === null) return null;
  if (found.clientAuths.length === 0) return 'client_secret_basic';
  return preferred.find((one) => found.clientAuths.includes(one)) ?? null;
}

/** OpenID Connect Core §5.3: with the scope `openid` the userinfo endpoint says whose a token is. */
function userinfoOf(
  found: Discovered | null,
  scopes: readonly string[],
  local: boolean,
): Pick<OAuth2Settings, 'whoAmI'> {
  const url = found?.userinfoEndpoint ?? '';
  if (url === '' || !scopes.includes('openid')) return {};
  checkEndpoint('the userinfo endpoint', url, local);
  return { whoAmI: { url, account: 'sub' } };
}

/**
 * Tokens of a self-hosted service must not be sent to the public one: whoever moves an endpoint of the catalogue to another
 * host has to say where the service is, so that its other addresses move along.
 */
function checkPlaces(
  { id, quirks, places }: CatalogueEntry,
  lent: Pick<ParsedProvider, 'authorizationEndpoint' | 'tokenEndpoint'>,
  endpoints: Pick<ParsedProvider, 'authorizationEndpoint' | 'tokenEndpoint'>,
  { base, api }: OAuth2Settings,
): void {
  const moved = new URL(lent.tokenEndpoint).host !== new URL(endpoints.tokenEndpoint).host;
  const others = quirks.whoAmI !== null || quirks.revocationUrl !== '' || Object.keys(places).length > 0;
  if (!moved || !others || base !== undefined || api !== undefined) return;
  throw invalid(
    `the token endpoint is not at the service ${id}`,
    'give the setting `base` (and `api`) instead, for example --setting base=https://git.example.com',
  );
}

async function checkSecret(clientAuth: ProviderRow['clientAuth'], secret: string): Promise<void> {
  if (clientAuth === 'none' && secret !== '') throw invalid('a client without authentication has no secret');
  if (clientAuth === 'none') return;
  if (secret === '') throw invalid('the client secret is missing');
  if (secret.length > limits.clientSecret)
    throw invalid('the client secret must be at most 16,384 characters');
  if (clientAuth === 'private_key_jwt') await loadClientKey(secret);
  else if (!visibleAscii.test(secret)) throw invalid('the client secret must be visible characters');
}
