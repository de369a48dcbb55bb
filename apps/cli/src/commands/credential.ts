import { KontextError } from '@kontext/errors';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import { askCredentials } from '../hooks/ask-session.ts';
import type { ServedCredential } from '../hooks/serve-credentials.ts';

const formats = ['plain', 'env', 'json', 'aws'] as const;
type Format = (typeof formats)[number];

/** `kontext credential [provider[/resource]] [--format plain|env|json|aws]` */
export function define(command: Command, run: RunCommand): void {
  command
    .argument(
      '[credential]',
      '`provider` or `provider/resource`, as in the env template; left out: list them',
    )
    .option('--format <format>', `${formats.join(', ')}; aws is for credential_process`, 'plain')
    .action((what: string | undefined, options: { format: string }) =>
      run({}, (context) => show(context, what, options.format)),
    );
}

async function show({ config, terminal }: Context, what: string | undefined, asked: string): Promise<number> {
  const format = formats.find((known) => known === asked);
  if (format === undefined) throw new KontextError('KX_USAGE', `--format must be ${formats.join(', ')}`);
  if (what === undefined) {
    const held = await askCredentials(config.socketPath, { op: 'list' });
    terminal.table(['CREDENTIAL', 'KIND', 'EXPIRES', 'VARIABLES'], held.map(toRow));
    return 0;
  }
  const [provider = '', ...rest] = what.split('/');
  const question = { op: 'get', provider, resource: rest.join('/') } as const;
  const credentials = await askCredentials(config.socketPath, question);
  terminal.value(formatCredentials(credentials, format));
  return 0;
}

const placeOf = ({ provider, resource }: ServedCredential): string =>
  resource === '' ? provider : `${provider}/${resource}`;

const toRow = (one: ServedCredential): string[] => [
  placeOf(one),
  one.kind,
  one.expiresIn === null ? 'never' : `in ${one.expiresIn} s`,
  one.names.length === 0 ? '-' : one.names.join(' '),
];

/**
 * Writes credentials as a program expects them.
 *
 * - `plain`: the value, of one credential alone
 * - `env`: `NAME='value'` lines for a shell, with the names of the env template
 * - `json`: one object per credential
 * - `aws`: version 1 of what AWS calls `credential_process`
 *
 * @throws KontextError `KX_CONNECTION_AMBIGUOUS` when the format holds one and there are several; `KX_USAGE` when there is no name
 *   for `env`, or the parts AWS needs are not among them.
 */
export function formatCredentials(credentials: readonly ServedCredential[], format: Format): string {
  switch (format) {
    case 'plain':
      return onlyOne(credentials).value;
    case 'env':
      return credentials.flatMap(toEnvLines).join('\n');
    case 'json':
      return JSON.stringify(credentials.map(toJson));
    case 'aws':
      return JSON.stringify(toAws(credentials));
  }
}

function onlyOne(credentials: readonly ServedCredential[]): ServedCredential {
  const [first, ...more] = credentials;
  if (first !== undefined && more.length === 0) return first;
  throw new KontextError('KX_CONNECTION_AMBIGUOUS', 'there are several values', {
    why: `name one of ${credentials.map(placeOf).join(', ')}, or ask for --format json`,
  });
}

function toEnvLines(credential: ServedCredential): string[] {
  const { names, value } = credential;
  if (names.length === 0) {
    throw new KontextError('KX_USAGE', `no variable of the env template is ${placeOf(credential)} alone`, {
      hint: 'ask for --format plain or json',
    });
  }
  return names.map((name) => `${name}='${value.replaceAll("'", "'\\''")}'`);
}

const toJson = ({ provider, resource, value, kind, scopes, expiresIn, leaseId }: ServedCredential) => ({
  ...{ provider, resource, value, kind, scopes, leaseId },
  expiresAt: expiresIn === null ? null : expiry(expiresIn),
});

/** In the clock of this machine, which is the one the reader compares with. */
const expiry = (expiresIn: number): string => new Date(Date.now() + expiresIn * 1000).toISOString();

const awsParts = {
  'access-key-id': 'AccessKeyId',
  'secret-access-key': 'SecretAccessKey',
  'session-token': 'SessionToken',
};

function toAws(credentials: readonly ServedCredential[]) {
  const parts = Object.entries(awsParts).map(([field, name]) => {
    const found = credentials.find(({ resource }) => resource.split('/').at(-1) === field);
    if (found !== undefined) return [name, found.value] as const;
    throw new KontextError('KX_USAGE', `the session holds no ${field}`, {
      why: 'the env template needs the placeholders access-key-id, secret-access-key and session-token of the role',
    });
  });
  const lives = credentials.flatMap(({ expiresIn }) => expiresIn ?? []);
  const end = lives.length === 0 ? {} : { Expiration: expiry(Math.min(...lives)) };
  return { Version: 1, ...Object.fromEntries(parts), ...end };
}
