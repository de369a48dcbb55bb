import { type EnvTemplate, type MissingValue, renderEntries } from '@kontext/env-template';
import { conflictingNames } from './conflicting-names.ts';
import { gitConfigVariables } from './git-config.ts';
import type { ResolvedCredential } from './resolve-placeholders.ts';

/** What the child's environment is made from. */
export interface ChildEnvInput {
  /** Our own environment. */
  readonly inherited: Readonly<Record<string, string>>;
  readonly template: EnvTemplate;
  /** Placeholder key → credential. */
  readonly credentials: ReadonlyMap<string, ResolvedCredential>;
  readonly sessionId: string;
  /** Path of the hook socket; left out where there are no hooks. */
  readonly socketPath?: string;
  /** Program and arguments of `kontext`, for git to ask; left out where there is no socket to ask over. */
  readonly program?: readonly string[];
}

/** The environment, and what could not be set. */
export interface ChildEnv {
  readonly env: Readonly<Record<string, string>>;
  readonly missing: readonly MissingValue[];
}

/** Ours, and of no use to an agent: a machine's token, and the marks of a session around this one. */
const cleared = ['KONTEXT_TOKEN', 'KONTEXT_SESSION_ID', 'KONTEXT_SOCKET'];

/**
 * Builds the environment of the child: the one place where credentials leave their {@link ResolvedCredential.value}.
 *
 * Conflicting variables are cleared first. That includes every name the template mentions: where a placeholder has no
 * value the variable is absent, and a long-lived key of the same name in the user's shell does not take its place.
 */
export function buildChildEnv(input: ChildEnvInput): ChildEnv {
  const { template, credentials } = input;
  const values = new Map([...credentials].map(([key, { value }]) => [key, value.reveal()]));
  const { variables, missing } = renderEntries(template.entries, values);
  const set = new Set([...template.entries.map((e) => e.name), ...brokenNames(template)]);
  const owned = new Set([...cleared, ...set, ...conflictingNames(credentialNames(template))]);
  const kept = Object.entries(input.inherited).filter(([name]) => !owned.has(name));
  const ours: Record<string, string> = { KONTEXT_SESSION_ID: input.sessionId };
  if (input.socketPath !== undefined) ours.KONTEXT_SOCKET = input.socketPath;
  const env = { ...Object.fromEntries(kept), ...Object.fromEntries(variables), ...ours };
  return { env: { ...env, ...gitVariables(input, env) }, missing };
}

function gitVariables(
  { credentials, program, socketPath }: ChildEnvInput,
  env: Readonly<Record<string, string>>,
) {
  if (program === undefined || socketPath === undefined) return {};
  const hosts = new Set([...credentials.values()].flatMap(({ git }) => git?.hosts ?? []));
  return gitConfigVariables({ env, hosts: [...hosts], program });
}

/** Names that hold a credential, and those that were meant to. */
const credentialNames = (template: EnvTemplate): ReadonlySet<string> =>
  new Set([
    ...template.entries
      .filter(({ parts }) => parts.some((part) => typeof part !== 'string'))
      .map((e) => e.name),
    ...brokenNames(template),
  ]);

/** Names whose line was wrong. A refused name is not the template's: what the user set stays. */
const brokenNames = (template: EnvTemplate): string[] =>
  template.problems
    .filter(({ severity, code }) => severity === 'error' && code !== 'KX_TEMPLATE_REFUSED_NAME')
    .flatMap(({ name }) => name ?? []);

/** An environment without some of its variables. */
export const leaveOut = (
  environment: Readonly<Record<string, string>>,
  names: readonly string[],
): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(environment).filter(([name]) => !names.includes(name)));
