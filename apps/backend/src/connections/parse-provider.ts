/**
 * What an administrator says about a provider, checked: names, addresses, client, settings. Everything in it came from outside.
 *
 * Order: the catalogue entry lends what was not given, then the issuer's metadata does, then all of it is checked alike.
 */
import { Secret } from '@kontext/redaction';
import { findEntry } from '../providers/catalogue/catalogue.ts';
import type { CatalogueEntry } from '../providers/catalogue/entry.ts';
import { checkMintedSecret } from '../providers/minted/check-secret.ts';
import { type OAuth2Settings, type ProviderKind, settingsSchemas } from '../providers/settings.ts';
import { type OAuth2Parts, parseOAuth2 } from './parse-oauth2-provider.ts';
import { isProviderName } from './placeholder-parts.ts';
import { checkEndpoint, invalid, limits } from './provider-checks.ts';
import type { ParsedProvider, ParseOptions, ProviderInput } from './provider-input.ts';

/**
 * Checks the description of a provider; reads its issuer's metadata when endpoints are missing.
 *
 * @throws KontextError `KX_PROVIDER_INVALID` naming what is wrong; `KX_REQUEST_INVALID` for scopes;
 *   `KX_PROVIDER_UNREACHABLE` when the issuer does not answer.
 */
export async function parseProvider(input: ProviderInput, options: ParseOptions): Promise<ParsedProvider> {
  const entry = entryOf(input.catalogueId ?? '');
  const name = input.name === '' && entry !== null ? entry.id : input.name;
  if (!isProviderName(name)) {
    throw invalid('the name must be lower-case letters, digits and hyphens, at most 63');
  }
  const kind = kindOf(input.kind, entry);
  const common = { ...parseBounds(input), name, kind, catalogueId: entry?.id ?? '' };
  const settings = parseSettings(kind, input.settingsJson ?? '', options.local);
  if (kind === 'oauth2') return { ...common, ...(await parseOAuth2(input, entry, settings, options)) };
  const parts = parseWithoutFlow(kind, input);
  await checkMintedSecret(kind, settings, parts.clientSecret === '' ? null : new Secret(parts.clientSecret));
  return { ...common, ...parts, settings: JSON.stringify(settings) };
}

function entryOf(catalogueId: string): CatalogueEntry | null {
  const entry = findEntry(catalogueId);
  if (entry !== null || catalogueId === '') return entry;
  throw invalid('the catalogue has no such entry', 'run `kontext providers catalogue`');
}

function kindOf(given: ProviderInput['kind'], entry: CatalogueEntry | null): ProviderKind {
  if (entry !== null && (given === null || given === entry.kind)) return entry.kind;
  if (entry !== null) throw invalid(`the kind of ${entry.id} is ${entry.kind}`);
  if (given !== null) return given;
  throw invalid('the kind is missing');
}

function parseBounds(
  input: ProviderInput,
): Pick<ParsedProvider, 'maxLoginAgeSeconds' | 'approval' | 'leaseTtlSeconds'> {
  const { maxLoginAgeSeconds = 0, leaseTtlSeconds = 0, needsApproval = false } = input;
  if (!isWithin(maxLoginAgeSeconds, 0, limits.loginAgeSeconds)) {
    throw invalid('the age of a login must be 0 to 31,536,000 seconds');
  }
  if (leaseTtlSeconds !== 0 && !isWithin(leaseTtlSeconds, limits.leastLeaseSeconds, limits.leaseSeconds)) {
    throw invalid('the life of a lease must be 60 to 86,400 seconds, or 0');
  }
  const approval = needsApproval ? 'user' : 'none';
  return {
    maxLoginAgeSeconds: maxLoginAgeSeconds === 0 ? null : maxLoginAgeSeconds,
    ...{ approval, leaseTtlSeconds },
  };
}

const isWithin = (value: number, least: number, most: number): boolean =>
  Number.isInteger(value) && value >= least && value <= most;

/** Reads the settings of a kind; addresses in them are checked as endpoints are. */
function parseSettings(kind: ProviderKind, text: string, local: boolean): object {
  if (text.length > limits.settings) throw invalid('the settings must be at most 131,072 characters');
  const result = settingsSchemas[kind].safeParse(parseJson(text === '' ? '{}' : text));
  if (!result.success) {
    const [issue] = result.error.issues;
    const where = (issue?.path ?? []).map(String).join('.');
    const what = `settings${where === '' ? '' : ` ${where}`}: ${issue?.message ?? 'cannot be used'}`;
    // It names members as they were given, and they may be anything.
    throw invalid(what.replace(/[^\x20-\x7e]/g, '?').slice(0, 300));
  }
  // Minted kinds check their own addresses; what the flow and tests read stands in these two.
  const settings = kind === 'oauth2' || kind === 'static' ? (result.data as OAuth2Settings) : {};
  const { base, api, whoAmI } = settings;
  const addresses = { base, api, 'whoAmI.url': whoAmI?.url };
  for (const [what, url] of Object.entries(addresses)) {
    if (url !== undefined) checkEndpoint(`settings ${what}`, url, local);
  }
  return result.data;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw invalid('the settings are not JSON');
  }
}

/** Kinds that nobody is sent to the provider for. */
function parseWithoutFlow(kind: ProviderKind, input: ProviderInput): Omit<OAuth2Parts, 'settings'> {
  const { authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId, clientSecret, issuer } = input;
  const texts = [
    authorizationEndpoint,
    tokenEndpoint,
    revocationEndpoint,
    clientId,
    issuer ?? '',
    ...input.scopes,
  ];
  if (texts.some((text) => text !== '')) {
    throw invalid(
      kind === 'static'
        ? 'a static provider has neither endpoints nor client nor scopes'
        : `a provider of the kind ${kind} has no endpoints, client or scopes of its own: they stand in its settings`,
    );
  }
  if (kind === 'static' && clientSecret !== '') {
    throw invalid('a static provider has no client secret', 'put the key with `kontext secrets put`');
  }
  if (clientSecret.length > limits.clientSecret || clientSecret.includes('\0')) {
    throw invalid('the secret must be at most 16,384 characters without NUL');
  }
  return {
    ...{ authorizationEndpoint: '', tokenEndpoint: '', revocationEndpoint: '', clientId: '', issuer: '' },
    ...{ clientAuth: 'none', scopes: [], clientSecret },
  };
}
