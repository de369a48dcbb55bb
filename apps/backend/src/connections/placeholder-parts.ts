/** The parts of a placeholder that come from outside, checked: names of providers and connections, scopes. */
import { KontextError } from '@kontext/errors';
import { limits } from './provider-checks.ts';

/** RFC 6749 §3.3, without `+`, which separates scopes in a placeholder. */
const scopeToken = /^[!#-*,-[\]-~]+$/;

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
