/**
 * Policy of this machine: the `.cedar` files of `policy` in the user's configuration directory.
 *
 * It can only forbid more than the organisation does: `deny`, `ask` and `sensitive` all tighten, a `permit` is refused. It is
 * read when a session starts and holds until that ends. A file that cannot be used stops the start: a policy somebody
 * believes in is never silently off.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { KontextError } from '@kontext/errors';
import type { Finding, PolicyText } from '@kontext/policy';
import { readSources } from './read-sources.ts';

/**
 * Reads and checks the local policy. Loads no engine where there is none.
 *
 * @returns Its rules, named `local.` and their `@id`.
 * @throws KontextError `KX_POLICY_INVALID`, `KX_POLICY_UNREADABLE` (65) naming file, line and column.
 */
export async function loadLocalPolicies(configDir: string): Promise<readonly PolicyText[]> {
  const directory = join(configDir, 'policy');
  if (!holdsPolicies(directory)) return [];
  const files = readSources([directory], configDir);
  const [{ createPolicyEngine }, { check }] = await Promise.all([
    import('@kontext/policy'),
    import('./validate.ts'),
  ]);
  const engine = await createPolicyEngine();
  const { policies, findings } = check(engine, files);
  const errors = findings.filter(({ error }) => error);
  if (errors[0] !== undefined) throw unusable(errors[0], errors.length);
  for (const policy of policies) {
    if (!isForbid(policy.text)) throw permits(directory, policy);
  }
  const local = policies.map(({ id, text }) => ({ id: `local.${id}`, text }));
  engine.load({ version: 0, policies: local });
  return local;
}

function holdsPolicies(directory: string): boolean {
  try {
    return readdirSync(directory).some((name) => name.endsWith('.cedar'));
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : '';
    if (code === 'ENOENT') return false;
    throw new KontextError('KX_POLICY_UNREADABLE', `${directory} cannot be read`, {
      why: `the system answered ${String(code || 'an unknown error')}`,
      cause,
    });
  }
}

/** White space, comments and annotations, which is all that may stand before the word that says what a policy does. */
const beforeEffect = /^(?:\s|\/\/[^\n]*|@[A-Za-z_]\w*|\(\s*"(?:[^"\\]|\\.)*"\s*\))*/s;

/** Of a policy that parses. Anything that does not read as `forbid` does not count as one. */
const isForbid = (text: string): boolean => text.replace(beforeEffect, '').startsWith('forbid');

const unusable = ({ file, line, column, message, hint }: Finding, count: number): KontextError =>
  new KontextError('KX_POLICY_INVALID', `${file}:${line}:${column}: ${message}`, {
    why: `a local policy that cannot be used must not be silently off${count > 1 ? `; there are ${count} errors` : ''}`,
    ...(hint === '' ? {} : { hint: `${hint}; \`kontext policy validate\` shows all` }),
    details: { line, column },
  });

const permits = (directory: string, { id }: PolicyText): KontextError =>
  new KontextError('KX_POLICY_INVALID', `the rule ${id} in ${directory} permits`, {
    why: 'local policy can only forbid more than the organisation does',
    hint: 'write it as a forbid, or ask whoever publishes policy',
  });
