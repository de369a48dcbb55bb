import { type EnvTemplate, listPlaceholders, type PlaceholderRef } from '@kontext/env-template';
import type { Context } from '../context.ts';
import { openBackendOrLogIn } from '../login/ensure-login.ts';
import {
  type ResolvedCredential,
  type ResolvedPlaceholders,
  resolvePlaceholders,
} from './resolve-placeholders.ts';

/** What a run would set, as `--dry-run --json` prints it. Key sets are pinned by a test: additive only. */
export interface DryRun {
  /** Path of the env template. */
  readonly template: string;
  /** Whether every placeholder has a credential. */
  readonly ready: boolean;
  readonly variables: readonly {
    readonly name: string;
    readonly line: number;
    readonly ready: boolean;
    /** Empty for a literal. */
    readonly placeholders: readonly DryRunPlaceholder[];
  }[];
  readonly problems: readonly {
    readonly line: number;
    readonly column: number;
    readonly severity: 'error' | 'warning';
    readonly name: string | null;
    readonly code: string;
    readonly message: string;
  }[];
}

interface DryRunPlaceholder {
  readonly provider: string;
  readonly resource: string;
  readonly delivery: 'inject' | 'broker';
  /** Granted, or where there is no credential, asked for. */
  readonly scopes: readonly string[];
  readonly ready: boolean;
  /** Null where there is no credential, as are `connection` and `expiresAt`; the latter also when it has no end. */
  readonly kind: ResolvedCredential['kind'] | null;
  readonly connection: string | null;
  /** RFC 3339. */
  readonly expiresAt: string | null;
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly next: string;
    readonly connectUri: string | null;
  } | null;
}

/**
 * Shows what a run would set: variable, provider, kind, scopes, lifetime, and what is missing. Never a value: the
 * backend makes none. Opens no session.
 *
 * @param json As one document of the shape {@link DryRun}, else as a table.
 * @returns 0, or 77 when something is missing.
 */
export async function showDryRun(context: Context, template: EnvTemplate, json: boolean): Promise<number> {
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
    if (json) terminal.json(describeDryRun(context.config.envFile, template, result));
    else
      terminal.table(
        ['VARIABLE', 'PROVIDER', 'KIND', 'SCOPES', 'LIFETIME', 'STATE'],
        describeRows(template, result),
      );
    return result.failures.length === 0 ? 0 : 77;
  } finally {
    backend.close();
  }
}

function describeDryRun(path: string, template: EnvTemplate, result: ResolvedPlaceholders): DryRun {
  const variables = template.entries.map(({ name, line, parts }) => {
    const placeholders = parts
      .filter((part) => typeof part !== 'string')
      .map((placeholder) => describePlaceholder(placeholder, result));
    return { name, line, ready: placeholders.every(({ ready }) => ready), placeholders };
  });
  const problems = template.problems.map(({ line, column, severity, name, code, message }) => ({
    ...{ line, column, severity, name: name ?? null, code, message },
  }));
  return { template: path, ready: result.failures.length === 0, variables, problems };
}

function describePlaceholder(placeholder: PlaceholderRef, result: ResolvedPlaceholders): DryRunPlaceholder {
  const { provider, resource, delivery, key } = placeholder;
  const credential = result.credentials.get(key);
  const failure = result.failures.find((one) => one.placeholder.key === key);
  return {
    ...{ provider, resource, delivery, scopes: credential?.scopes ?? placeholder.scopes },
    ready: credential !== undefined,
    kind: credential?.kind ?? null,
    connection: credential?.connectionName || null,
    expiresAt: credential?.expiresAt?.toISOString() ?? null,
    error: failure
      ? {
          ...{ code: failure.code, message: failure.message },
          ...{ next: failure.hint, connectUri: failure.connectUri },
        }
      : null,
  };
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
