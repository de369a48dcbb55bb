/** What every part of a provider's description is held to: its addresses, its bounds, and the error when one is passed. */
import { KontextError } from '@kontext/errors';
import { isLoopbackUrlHost } from '../providers/public-address.ts';

/** Bounds: characters of a text, how many scopes, seconds. */
export const limits = {
  ...{ url: 2048, clientId: 512, clientSecret: 16_384, settings: 131_072, scopes: 100, scope: 256 },
  ...{ loginAgeSeconds: 365 * 86_400, leaseSeconds: 86_400, leastLeaseSeconds: 60 },
} as const;

/** Refuses what is not an address to send tokens or people to. @throws KontextError `KX_PROVIDER_INVALID`. */
export function checkEndpoint(what: string, text: string, local: boolean): void {
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

/** The error of a description that cannot be used. */
export const invalid = (why: string, hint?: string): KontextError =>
  new KontextError('KX_PROVIDER_INVALID', 'the provider description cannot be used', {
    why,
    ...(hint === undefined ? {} : { hint }),
  });
