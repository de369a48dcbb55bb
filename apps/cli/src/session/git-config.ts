/**
 * Makes git ask the session for the credentials of its hosts, through the environment alone (git-config(1), GIT_CONFIG_COUNT; git
 * 2.31 and later). What the environment configures already is kept; no file is touched.
 */

/** What git is told. */
export interface GitConfigInput {
  /** Environment the agent gets so far. */
  readonly env: Readonly<Record<string, string>>;
  /** Hosts that belong to providers of the session. */
  readonly hosts: readonly string[];
  /** Program and arguments of `kontext`, for example `[node, main.js]`. */
  readonly program: readonly string[];
}

/** Most entries another tool may have put there; more is not what git itself would write. */
const maxCount = 1000;

/**
 * The variables to add; none without hosts.
 *
 * For each host the helpers that others configured are switched off first: one that answers sooner would give another
 * account's credential.
 */
export function gitConfigVariables({
  env,
  hosts,
  program,
}: GitConfigInput): Readonly<Record<string, string>> {
  const count = /^\d{1,4}$/.test(env.GIT_CONFIG_COUNT ?? '0') ? Number(env.GIT_CONFIG_COUNT ?? '0') : null;
  if (hosts.length === 0 || count === null || count > maxCount) return {};
  const helper = `!${program.map(quote).join(' ')} git-credential`;
  const entries = hosts.flatMap((host) => [
    [`credential.https://${host}.helper`, ''],
    [`credential.https://${host}.helper`, helper],
  ]);
  const variables: Record<string, string> = { GIT_CONFIG_COUNT: String(count + entries.length) };
  for (const [i, [key = '', value = '']] of entries.entries()) {
    variables[`GIT_CONFIG_KEY_${count + i}`] = key;
    variables[`GIT_CONFIG_VALUE_${count + i}`] = value;
  }
  return variables;
}

/** For `sh`, which git gives a helper that begins with `!`. */
const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;
