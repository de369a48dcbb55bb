import type { ResolvedCredential } from './resolve-placeholders.ts';

/** One phrase for a person: `3 credentials (2 short-lived, 1 static)`. */
export function describeCredentials(credentials: ReadonlyMap<string, ResolvedCredential>): string {
  const all = [...credentials.values()];
  const kept = all.filter(({ kind }) => kind === 'static').length;
  const parts = [
    ...(all.length > kept ? [`${all.length - kept} short-lived`] : []),
    ...(kept > 0 ? [`${kept} static`] : []),
  ];
  const noun = all.length === 1 ? 'credential' : 'credentials';
  return `${all.length} ${noun}${parts.length > 0 ? ` (${parts.join(', ')})` : ''}`;
}
