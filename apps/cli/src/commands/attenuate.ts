import { KontextError } from '@kontext/errors';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import { askCredentials, askSession } from '../hooks/ask-session.ts';
import type { ServedCredential } from '../hooks/serve-credentials.ts';
import { conflictingNames } from '../session/conflicting-names.ts';
import { findExecutable } from '../session/find-executable.ts';
import { parseDuration } from '../session/parse-duration.ts';
import { spawnChild } from '../session/spawn-agent.ts';

interface AttenuateOptions {
  readonly scope: readonly string[];
  readonly ttl?: string;
}

/** Scopes wanted of one credential; none: all it has, for a shorter time. */
export interface WantedScopes {
  readonly provider: string;
  readonly resource: string;
  readonly scopes: readonly string[];
}

/** Tells a nested run which leases it narrows: JSON, `provider/resource` to lease id. */
export const attenuatedVariable = 'KONTEXT_ATTENUATED';

/** `kontext attenuate --scope provider:scope [--ttl 5m] -- command` */
export function define(command: Command, run: RunCommand): void {
  command
    .argument('<command...>', 'command and its arguments, after --')
    .requiredOption(
      '--scope <scope...>',
      '`provider[/resource]:scope`, or `provider[/resource]` for all it has; the credentials of other providers are removed',
    )
    .option('--ttl <duration>', 'longest life, such as 90s or 5m; default: that of the credential')
    .action((words: readonly string[], options: AttenuateOptions) =>
      run({}, (context) => attenuate(context, words, options)),
    );
}

async function attenuate(
  context: Context,
  words: readonly string[],
  options: AttenuateOptions,
): Promise<number> {
  const { config } = context;
  const [name = '', ...args] = words;
  const wanted = parseScopes(options.scope);
  const ttlSeconds = options.ttl === undefined ? 0 : parseDuration(options.ttl, '--ttl');
  const command = findExecutable(name, config.environment.PATH);
  const held = await askCredentials(config.socketPath, { op: 'list' });
  const above = readAttenuated(config.environment[attenuatedVariable]);
  const narrowed: NarrowedCredential[] = [];
  for (const one of wanted) narrowed.push(await narrow(config.socketPath, one, above, ttlSeconds));
  const env = narrowEnv(config.environment, held, narrowed);
  context.releaseSignals();
  return spawnChild({ command, args, env });
}

/**
 * Reads `provider[/resource]:scope`; what follows the first colon is the provider's own scope, colons included.
 *
 * @throws KontextError `KX_USAGE`.
 */
export function parseScopes(texts: readonly string[]): readonly WantedScopes[] {
  const wanted = new Map<string, { provider: string; resource: string; scopes: string[] | null }>();
  for (const text of texts) {
    const [, place = '', scope] = /^([^:]+)(?::(.+))?$/s.exec(text) ?? [];
    const [provider = '', ...rest] = place.split('/');
    if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(provider))
      throw new KontextError('KX_USAGE', '--scope is not `provider[/resource]:scope`', {
        hint: 'write it as `--scope github:contents:read`',
      });
    const known = wanted.get(place) ?? { provider, resource: rest.join('/'), scopes: [] };
    // Named once without scope, all of it is wanted.
    known.scopes = scope === undefined || known.scopes === null ? null : [...known.scopes, scope];
    wanted.set(place, known);
  }
  return [...wanted.values()].map((one) => ({ ...one, scopes: one.scopes ?? [] }));
}

/** A credential that was narrowed, and where in the env template it stood. */
export interface NarrowedCredential {
  readonly place: string;
  readonly names: readonly string[];
  readonly value: string;
  readonly leaseId: string;
}

async function narrow(
  socketPath: string | null,
  { provider, resource, scopes }: WantedScopes,
  above: Readonly<Record<string, string>>,
  ttlSeconds: number,
): Promise<NarrowedCredential> {
  const place = placeOf({ provider, resource });
  // Inside a narrowed run only what it was given can be narrowed further.
  const nested = Object.keys(above).length > 0;
  const leaseId = above[place];
  if (nested && leaseId === undefined)
    throw new KontextError('KX_SCOPE_EXCEEDED', `this run was not given ${place}`, {
      why: `it was given ${Object.keys(above).join(', ')}`,
      hint: 'ask for less',
    });
  const question = { provider, resource, scopes, ttlSeconds, ...(leaseId === undefined ? {} : { leaseId }) };
  const { credential } = await askSession(socketPath, 'attenuate', question);
  const given = credential as Pick<ServedCredential, 'names' | 'value' | 'leaseId'>;
  return { place, names: given.names, value: given.value, leaseId: given.leaseId };
}

/**
 * The environment of a narrowed run: the session's variables are removed, all of them, and only what was narrowed is set again. A
 * variable that holds a credential among other text is removed too.
 */
export function narrowEnv(
  inherited: Readonly<Record<string, string>>,
  held: readonly Pick<ServedCredential, 'mentions'>[],
  narrowed: readonly NarrowedCredential[],
): Readonly<Record<string, string>> {
  const ofSession = new Set(held.flatMap(({ mentions }) => mentions));
  const removed = new Set([...ofSession, ...conflictingNames(ofSession)]);
  const kept = Object.entries(inherited).filter(([name]) => !removed.has(name));
  const set = narrowed.flatMap(({ names, value }) => names.map((name) => [name, value] as const));
  const leases = Object.fromEntries(narrowed.map(({ place, leaseId }) => [place, leaseId]));
  return {
    ...Object.fromEntries(kept),
    ...Object.fromEntries(set),
    [attenuatedVariable]: JSON.stringify(leases),
  };
}

const placeOf = ({ provider, resource }: Pick<WantedScopes, 'provider' | 'resource'>): string =>
  resource === '' ? provider : `${provider}/${resource}`;

/** What the run around us was given; empty outside of any. */
function readAttenuated(text: string | undefined): Readonly<Record<string, string>> {
  if (text === undefined) return {};
  try {
    const value: unknown = JSON.parse(text);
    const entries = Object.entries(value as object);
    if (entries.length > 0 && entries.every(([, id]) => typeof id === 'string'))
      return Object.fromEntries(entries);
  } catch {
    // What cannot be read says that something was given, and not what.
  }
  throw new KontextError('KX_USAGE', `${attenuatedVariable} cannot be read`, {
    hint: 'leave it as `kontext attenuate` set it',
  });
}
