import { spawnSync } from 'node:child_process';
import { listPlaceholders, parseEnvTemplate } from '@kontext/env-template';
import { Secret } from '@kontext/redaction';
import { describe, expect, test } from 'vitest';
import { buildChildEnv } from './child-env.ts';
import { conflictingNames, nameFamilies } from './conflicting-names.ts';
import { gitConfigVariables } from './git-config.ts';
import type { ResolvedCredential } from './resolve-placeholders.ts';

const credential = (git: ResolvedCredential['git'] = null): ResolvedCredential => ({
  ...{ value: new Secret('value'), kind: 'oauth', leaseId: 'lea_1', connectionId: '', connectionName: '' },
  ...{ scopes: [], expiresAt: null, expiresInSeconds: 60, git },
});

function envFor(text: string, inherited: Record<string, string>, git: ResolvedCredential['git'] = null) {
  const template = parseEnvTemplate(Buffer.from(text));
  const credentials = new Map(listPlaceholders(template.entries).map(({ key }) => [key, credential(git)]));
  const more = { sessionId: 'ses_1', socketPath: '/run/s', program: ['/bin/node', "/it's/main.js"] };
  return buildChildEnv({ inherited, template, credentials, ...more }).env;
}

test.each(nameFamilies)('$why', ({ owners, conflicting }) => {
  for (const owner of owners) {
    expect(new Set(conflictingNames(new Set([owner])))).toEqual(
      new Set([...conflictingNames(new Set([owner])), ...conflicting.filter((name) => name !== owner)]),
    );
    const inherited = Object.fromEntries(conflicting.map((name) => [name, 'from the shell']));
    const env = envFor(`${owner}={{kontext:any}}\n`, inherited);
    expect(conflicting.filter((name) => name in env)).toEqual([owner]);
    expect(env[owner]).toBe('value');
  }
});

test('what the template sets itself stays, and a literal of a family clears nothing', () => {
  const both = 'GITHUB_TOKEN={{kontext:github}}\nGH_TOKEN={{kontext:github}}\n';
  expect(envFor(both, { GH_TOKEN: 'x' })).toMatchObject({ GH_TOKEN: 'value', GITHUB_TOKEN: 'value' });
  expect(envFor('PGUSER=me\n', { PGPASSFILE: '/home/me/.pgpass' })).toMatchObject({
    ...{ PGUSER: 'me', PGPASSFILE: '/home/me/.pgpass' },
  });
});

test('a family nobody owns is left alone', () => {
  expect(envFor('LOG_LEVEL=debug\n', { GH_TOKEN: 'x', AWS_PROFILE: 'y' })).toMatchObject({
    ...{ GH_TOKEN: 'x', AWS_PROFILE: 'y' },
  });
});

describe('git in a session', () => {
  const hosting = { hosts: ['github.com'], user: 'x-access-token' };
  const ask = (env: Readonly<Record<string, string>>, key: string) =>
    spawnSync('git', ['config', '--get-all', key], {
      ...{ encoding: 'utf8', env: { PATH: process.env.PATH, HOME: '/nonexistent', ...env } },
    }).stdout.trimEnd();

  test('asks the session for the hosts of its providers, after what was configured before', () => {
    const before = {
      ...{ GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: 'user.name' },
      ...{ GIT_CONFIG_VALUE_0: 'somebody' },
    };
    const env = envFor('T={{kontext:github}}\n', before, hosting);
    expect(ask(env, 'user.name')).toBe('somebody');
    expect(ask(env, 'credential.https://github.com.helper')).toBe(
      `\n!'/bin/node' '/it'\\''s/main.js' git-credential`,
    );
  });

  test('is told nothing where no provider hosts git, where there is no socket, or the count is broken', () => {
    expect(Object.keys(envFor('T={{kontext:acme}}\n', {})).filter((name) => name.startsWith('GIT_'))).toEqual(
      [],
    );
    const input = { hosts: ['github.com'], program: ['kontext'] };
    for (const count of ['x', '-1', '99999', '1001']) {
      expect(gitConfigVariables({ ...input, env: { GIT_CONFIG_COUNT: count } })).toEqual({});
    }
  });
});
