/**
 * What an administrator says about a provider, checked: names, addresses, client, settings. Everything in it came from outside.
 *
 * Order: the catalogue entry lends what was not given, then the issuer's metadata does, then all of it is checked alike.
 */
import { KontextError } from '@kontext/errors';
import { Secret } from '@kontext/redaction';
import { endpointsOf, findEntry, placesOf } from '../providers/catalogue/catalogue.ts';
import type { CatalogueEntry } from '../providers/catalogue/entry.ts';
import { loadClientKey } from '../providers/client-key.ts';
import type { Discovered } from '../providers/discover.ts';
import { checkMintedSecret } from '../providers/minted/check-secret.ts';
import { isLoopbackUrlHost } from '../providers/public-address.ts';
import { type OAuth2Settings, type ProviderKind, settingsSchemas } from '../providers/settings.ts';
import type { ProviderRow } from '../store/queries/providers.ts';

/** Which agent may have credentials of a provider, and up to which scopes (none: no bound of its own). */
export interface AttachInput {
  readonly agent: string;
  readonly scopes: readonly string[];
}

/** A provider as an administrator describes it. */
export interface ProviderInput {
  /** Empty with a catalogue entry: its id. */
  readonly name: string;
  /** Null with a catalogue entry: its kind. */
  readonly kind: ProviderRow['kind'] | null;
  readonly authorizationEndpoint: string;
  readonly tokenEndpoint: string;
  readonly revocationEndpoint: string;
  readonly clientId: string;
  readonly scopes: readonly string[];
  /** Null: the entry's, else what the issuer supports. */
  readonly clientAuth: ProviderRow['clientAuth'] | null;
  readonly clientSecret: string;
  /** Empty or absent: of the organisation's own. */
  readonly catalogueId?: string;
  /** Endpoints that are not given are read from its metadata. */
  readonly issuer?: string;
  /** A JSON object, see `providers/settings.ts`; empty or absent: none. */
  readonly settingsJson?: string;
  /** 0 or absent: no bound. */
  readonly maxLoginAgeSeconds?: number;
  readonly needsApproval?: boolean;
  /** 0 or absent: the agent's bound alone. */
  readonly leaseTtlSeconds?: number;
  /** Absent or empty: nobody; in local mode the built-in agents. */
  readonly agents?: readonly AttachInput[];
}

/** A provider that can be stored; the client secret is apart, to be sealed. */
export interface ParsedProvider {
  readonly name: string;
  readonly kind: ProviderKind;
  readonly authorizationEndpoint: string;
  readonly tokenEndpoint: string;
  readonly revocationEndpoint: string;
  readonly clientId: string;
  readonly clientAuth: ProviderRow['clientAuth'];
  readonly scopes: readonly string[];
  readonly clientSecret: string;
  readonly catalogueId: string;
  readonly issuer: string;
  /** JSON text. */
  readonly settings: string;
  readonly maxLoginAgeSeconds: number | null;
  readonly approval: ProviderRow['approval'];
  readonly leaseTtlSeconds: number;
}

/** How strict to be, and how to read an issuer's metadata. */
export interface ParseOptions {
  /** Allows endpoints by plain http on loopback. */
  readonly local: boolean;
  readonly discover: (issuer: string) => Promise<Discovered>;
}

const limits = {
  ...{ url: 2048, clientId: 512, clientSecret: 16_384, settings: 131_072, scopes: 100, scope: 256 },
  ...{ loginAgeSeconds: 365 * 86_400, leaseSeconds: 86_400, leastLeaseSeconds: 60 },
} as const;
/** RFC 6749 §3.3, without `+`, which separates scopes in a placeholder. */
const scopeToken = /^[!#-*,-[\]-~]+$/;
const visibleAscii = /^[\x20-\x7e]+$/;

/** Whether a text is a provider's name, which stands in placeholders. */
export const isProviderName = (name: string): boolean => /^[a-z0-9][a-z0-9-]{0,62}$/.test(name);

/**
 * Checks the name of a connection, which stands after the `/` of placeholders.
 *
 * @returns The name; `default` when it is empty.
 * @throws KontextError `KX_REQUEST_INVALID` when a placeholder could not name it.
 */
export function parseConnectionName(name: string): string {
  if (name === '') return 'default';
  // As in packages/env-template: nothing that could end the placeholder, begin its query, or hide from a reader.
  if (/^[^\s\p{C}{}<>?&"'`\\]{1,256}$/u.test(name)) return name;
  throw new KontextError('KX_REQUEST_INVALID', 'not a name for a connection', {
    why: 'it must be 1 to 256 characters without blanks, quotes, brackets, `?`, `&` and backslash',
  });
}

/**
 * Splits scopes by blanks and `+` and checks them.
 *
 * @throws KontextError `KX_REQUEST_INVALID` when one is malformed, or there are more than 100.
 */
export function parseScopes(scopes: readonly string[]): readonly string[] {
  const parts = [
    ...new Set(scopes.flatMap((scope) => scope.split(/[\s+]+/)).filter((scope) => scope !== '')),
  ];
  if (parts.length <= limits.scopes && parts.every((s) => s.length <= limits.scope && scopeToken.test(s))) {
    return parts;
  }
  throw new KontextError('KX_REQUEST_INVALID', 'the scopes cannot be used', {
    why: 'at most 100, each as RFC 6749 §3.3 says',
  });
}

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

type OAuth2Parts = Omit<
  ParsedProvider,
  'name' | 'kind' | 'catalogueId' | 'maxLoginAgeSeconds' | 'approval' | 'leaseTtlSeconds'
>;

async function parseOAuth2(
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

async function checkSecret(clientAuth: ProviderRow['clientAuth'], secret: string): Promise<void> {
  if (clientAuth === 'none' && secret !== '') throw invalid('a client without authentication has no secret');
  if (clientAuth === 'none') return;
  if (secret === '') throw invalid('the client secret is missing');
  if (secret.length > limits.clientSecret)
    throw invalid('the client secret must be at most 16,384 characters');
  if (clientAuth === 'private_key_jwt') await loadClientKey(secret);
  else if (!visibleAscii.test(secret)) throw invalid('the client secret must be visible characters');
}

function checkEndpoint(what: string, text: string, local: boolean): void {
  if (text === '') throw invalid(`${what} is missing`);
  const url = text.length <= limits.url && URL.canParse(text) ? new URL(text) : null;
  if (url === null) throw invalid(`${what} is not a URL of at most 2,048 characters`);
  // RFC 6749 §3.1, §3.2: no fragment. A user or password would end up in logs of others.
  if (url.hash !== '' || url.username !== '' || url.password !== '') {
    throw invalid(`${what} must have neither fragment nor user`);
  }
  const plainLoopback = local && url.protocol === 'http:' && isLoopbackUrlHost(url.hostname);
  if (url.protocol !== 'https:' && !plainLoopback) {
    throw invalid(`${what} must be https${local ? ', or http on loopback' : ''}`);
  }
}

const invalid = (why: string, hint?: string): KontextError =>
  new KontextError('KX_PROVIDER_INVALID', 'the provider description cannot be used', {
    why,
    ...(hint === undefined ? {} : { hint }),
  });
