import { type EnvTemplate, listPlaceholders } from '@kontext/env-template';
import type { Context } from '../context.ts';
import { openBackendOrLogIn } from '../login/ensure-login.ts';
import {
  type ResolvedCredential,
  type ResolvedPlaceholders,
  resolvePlaceholders,
} from './resolve-placeholders.ts';

/**
 * Shows what a run would set: variable, provider, kind, scopes, lifetime, and what is missing. Never a value: the
 * backend makes none. Opens no session.
 *
 * @returns 0, or 77 when something is missing.
 */
export async function showDryRun(context: Context, template: EnvTemplate): Promise<number> {
  const { terminal, signal } = context;
  const backend = await openBackendOrLogIn(context);
  try {
    const placeholders = listPlaceholders(template.entries);
    const result = await resolvePlaceholders(backend.calls, {
      sessionId: '',
      placeholders,
      dryRun: true,
      signal,
    });
    terminal.table(
      ['VARIABLE', 'PROVIDER', 'KIND', 'SCOPES', 'LIFETIME', 'STATE'],
      describeRows(template, result),
    );
    return result.failures.length === 0 ? 0 : 77;
  } finally {
    backend.close();
  }
}

function describeRows(template: EnvTemplate, { credentials, failures }: ResolvedPlaceholders): string[][] {
  const reasons = new Map(failures.map((f) => [f.placeholder.key, `${f.message} (${f.code})`]));
  return template.entries.flatMap(({ name, parts }) => {
    const placeholders = parts.filter((part) => typeof part !== 'string');
    if (placeholders.length === 0) return [[name, '-', 'literal', '-', '-', 'ready']];
    return placeholders.map(({ key, provider, resource, scopes }) => {
      const credential = credentials.get(key);
      const target = resource === '' ? provider : `${provider}/${resource}`;
      const granted = (credential?.scopes ?? scopes).join(' ') || '-';
      return [name, target, kindOf(credential), granted, lifetimeOf(credential), reasons.get(key) ?? 'ready'];
    });
  });
}

const kindOf = (credential: ResolvedCredential | undefined): string => credential?.kind ?? '-';

function lifetimeOf(credential: ResolvedCredential | undefined): string {
  if (credential === undefined) return '-';
  if (credential.expiresAt === null) return credential.kind === 'oauth' ? 'short' : 'until changed';
  return `until ${credential.expiresAt.toISOString()}`;
}
