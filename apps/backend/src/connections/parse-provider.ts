import { KontextError } from '@kontext/errors';
import { isLoopbackUrlHost } from '../providers/public-address.ts';
import type { ProviderRow } from '../store/queries/providers.ts';

/** A provider as an administrator describes it; everything in it came from outside. */
export interface ProviderInput {
  readonly name: string;
  readonly kind: ProviderRow['kind'] | null;
  readonly authorizationEndpoint: string;
  readonly tokenEndpoint: string;
  readonly revocationEndpoint: string;
  readonly clientId: string;
  readonly scopes: readonly string[];
  readonly clientAuth: ProviderRow['clientAuth'] | null;
  readonly clientSecret: string;
}

/** A provider that can be stored; the client secret is apart, to be sealed. */
export interface ParsedProvider extends Omit<ProviderInput, 'kind' | 'clientAuth'> {
  readonly kind: 'oauth2' | 'static';
  readonly clientAuth: ProviderRow['clientAuth'];
}

const limits = { url: 2048, clientId: 512, clientSecret: 4096, scopes: 100, scope: 256 } as const;
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
 * Checks the description of a provider.
 *
 * @param local Allows endpoints by plain http on loopback.
 * @throws KontextError `KX_PROVIDER_INVALID` naming what is wrong.
 */
export function parseProvider(input: ProviderInput, local: boolean): ParsedProvider {
  const { name, kind, clientAuth } = input;
  if (!isProviderName(name)) {
    throw invalid('the name must be lower-case letters, digits and hyphens, at most 63');
  }
  if (kind !== 'oauth2' && kind !== 'static') throw invalid('the kind must be oauth2 or static');
  if (kind === 'static') return { ...parseStatic(input), kind };
  checkEndpoint('the authorization endpoint', input.authorizationEndpoint, local);
  checkEndpoint('the token endpoint', input.tokenEndpoint, local);
  if (input.revocationEndpoint !== '') {
    checkEndpoint('the revocation endpoint', input.revocationEndpoint, local);
  }
  if (!visibleAscii.test(input.clientId) || input.clientId.length > limits.clientId) {
    throw invalid('the client id must be 1 to 512 visible characters');
  }
  if (clientAuth === null) throw invalid('the client authentication must be basic, post or none');
  checkSecret(clientAuth, input.clientSecret);
  return { ...input, kind, clientAuth, scopes: parseScopes(input.scopes) };
}

function parseStatic(input: ProviderInput): Omit<ParsedProvider, 'kind'> {
  const { authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId, clientSecret, scopes } = input;
  const texts = [authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId, clientSecret, ...scopes];
  if (texts.some((text) => text !== '')) {
    throw invalid('a static provider has neither endpoints nor client nor scopes');
  }
  return { ...input, clientAuth: 'none', scopes: [] };
}

function checkSecret(clientAuth: string, secret: string): void {
  if (clientAuth === 'none' && secret !== '') throw invalid('a client without authentication has no secret');
  if (clientAuth === 'none') return;
  if (secret === '') throw invalid('the client secret is missing');
  if (!visibleAscii.test(secret) || secret.length > limits.clientSecret) {
    throw invalid('the client secret must be at most 4,096 visible characters');
  }
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

const invalid = (why: string): KontextError =>
  new KontextError('KX_PROVIDER_INVALID', 'the provider description cannot be used', { why });
