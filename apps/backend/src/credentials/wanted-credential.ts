import { isProviderName } from '../connections/placeholder-parts.ts';

/** One credential somebody asks for; came from outside. */
export interface WantedCredential {
  readonly provider: string;
  /** Name of a connection; empty when none is named. */
  readonly resource: string;
  readonly scopes: readonly string[];
  readonly delivery: 'inject' | 'broker';
  /** Kind that is insisted on; null or left out: any. */
  readonly requestedKind?: 'oauth' | 'static' | null;
}

/** RFC 6749 §3.3. */
const scopeToken = /^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/;
const maxScopes = 100;

/** What cannot be right about it, in words; null when nothing is. A malformed provider name is simply unknown. */
export function whyMalformed({ resource, scopes }: WantedCredential): string | null {
  if (resource.length > 256) return 'the resource is longer than 256 characters';
  if (scopes.length > maxScopes || !scopes.every((scope) => scopeToken.test(scope))) {
    return 'the scopes cannot be used (RFC 6749 section 3.3)';
  }
  return null;
}

/** Two that mean the same have the same key. */
export const keyOf = ({ provider, resource, scopes, delivery }: WantedCredential): string =>
  JSON.stringify([provider, resource, [...new Set(scopes)].sort(), delivery]);

/** Names that may be looked up: what is no provider name cannot be one. */
export const lookupNames = (wanted: readonly WantedCredential[]): string[] => [
  ...new Set(wanted.map(({ provider }) => provider).filter(isProviderName)),
];
