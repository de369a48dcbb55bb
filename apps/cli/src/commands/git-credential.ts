import { KontextError } from '@kontext/errors';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import { askCredentials } from '../hooks/ask-session.ts';
import type { ServedCredential } from '../hooks/serve-credentials.ts';

/**
 * `kontext git-credential get|store|erase`: a credential helper of git (gitcredentials(7)), installed for a session through its
 * environment. It answers for hosts that belong to a provider of the session and stays silent about all others, so that git
 * goes on to ask elsewhere. It stores and erases nothing.
 */
export function define(command: Command, run: RunCommand): void {
  command
    .argument('<operation>', 'get, store or erase; others are ignored, as git asks of helpers')
    .action((operation: string) => run({}, (context) => help(context, operation)));
}

async function help({ config, terminal }: Context, operation: string): Promise<number> {
  if (operation !== 'get') return 0;
  const asked = parseDescription((await terminal.readStdin(maxInputBytes)).toString('utf8'));
  // Plain http would send the token unencrypted.
  if (asked.get('protocol') !== 'https') return 0;
  const host = asked.get('host') ?? '';
  if (config.socketPath === null || host === '') return 0;
  const [found] = await findForHost(config.socketPath, host);
  const user = found?.gitUser ?? '';
  if (found === undefined || !isLine(found.value) || !isLine(user)) return 0;
  const expiry = found.expiresIn === null ? [] : [`password_expiry_utc=${inSeconds(found.expiresIn)}`];
  terminal.value(
    ['protocol=https', `host=${host}`, `username=${user}`, `password=${found.value}`, ...expiry].join('\n'),
  );
  return 0;
}

/** A host of nobody we know is git's to ask elsewhere for. */
async function findForHost(socketPath: string, host: string): Promise<readonly ServedCredential[]> {
  try {
    return await askCredentials(socketPath, { op: 'git', host });
  } catch (error) {
    if (error instanceof KontextError && error.code === 'KX_CREDENTIAL_NOT_IN_SESSION') return [];
    throw error;
  }
}

const inSeconds = (left: number): number => Math.floor(Date.now() / 1000) + left;

/** A value with a line break would become another attribute. */
const isLine = (value: string): boolean => value !== '' && !/[\r\n\0]/.test(value);

/** git's attributes, a line each; the last of a name counts, an empty line ends them. */
export function parseDescription(text: string): ReadonlyMap<string, string> {
  const attributes = new Map<string, string>();
  for (const line of text.split('\n')) {
    if (line === '') break;
    const at = line.indexOf('=');
    if (at > 0) attributes.set(line.slice(0, at), line.slice(at + 1));
  }
  return attributes;
}

const maxInputBytes = 65_536;
