import { generateKeyPairSync } from 'node:crypto';
import { Secret } from '@kontext/redaction';
import { describe, expect, test } from 'vitest';
import { checkMintedSecret } from './check-secret.ts';
import { awsStsSettings, githubAppSettings, postgresSettings, tokenExchangeSettings } from './settings.ts';

const database = { database: 'app', role: 'readers' };
const permissions = { contents: 'read' };
const role = { arn: 'arn:aws:iam::123456789012:role/x', policies: { read: [{ Effect: 'Allow' }] } };
const exchange = {
  ...{ tokenEndpoint: 'https://x.test/token', issuer: 'https://x.test', clientId: 'c', clientAuth: 'none' },
  targets: { a: {} },
};
const github = { app: '1', installation: 1, sets: { a: { permissions } } };
const aws = { region: 'eu-central-1', roles: { a: role } };

describe('settings of minted providers', () => {
  test('the least that is needed is enough', () => {
    expect(postgresSettings.safeParse({ databases: { prod: database } }).success).toBe(true);
    expect(githubAppSettings.safeParse(github).success).toBe(true);
    expect(awsStsSettings.safeParse(aws).success).toBe(true);
    expect(tokenExchangeSettings.safeParse(exchange).success).toBe(true);
  });

  test.each([
    [postgresSettings, { databases: {} }],
    [postgresSettings, { databases: { 'a/b': database } }],
    [postgresSettings, { databases: { a: { ...database, password: 'x' } } }],
    [postgresSettings, { databases: { a: { ...database, role: 'a\0' } } }],
    [postgresSettings, { databases: { a: { ...database, host: 'a b' } } }],
    [postgresSettings, { databases: { a: database }, tls: 'prefer' }],
    [postgresSettings, { databases: { a: database }, ca: 'x' }],
    [githubAppSettings, { ...github, sets: { a: { permissions: {} } } }],
    [githubAppSettings, { ...github, sets: { a: { permissions, repositories: ['owner/name'] } } }],
    [githubAppSettings, { ...github, api: 'http://api.test' }],
    [githubAppSettings, { ...github, api: 'https://u:p@api.test' }],
    [awsStsSettings, { ...aws, region: 'x.evil.test/' }],
    [awsStsSettings, { ...aws, roles: { a: { ...role, policies: {} } } }],
    [awsStsSettings, { ...aws, roles: { a: { ...role, maxTtlSeconds: 60 } } }],
    [tokenExchangeSettings, { ...exchange, tokenEndpoint: 'ftp://x' }],
    [tokenExchangeSettings, { ...exchange, subject: { connection: 'A B' } }],
    [tokenExchangeSettings, { ...exchange, targets: { a: { scopes: ['a b'] } } }],
  ])('what cannot be used is refused %#', (schema, value) => {
    expect(schema.safeParse(value).success).toBe(false);
  });

  const pem = (type: 'rsa' | 'ec') =>
    String(
      (type === 'rsa'
        ? generateKeyPairSync('rsa', { modulusLength: 2048 })
        : generateKeyPairSync('ec', { namedCurve: 'P-256' })
      ).privateKey.export({ type: 'pkcs8', format: 'pem' }),
    );

  test('a secret that fits is taken', async () => {
    await checkMintedSecret('postgres', {}, new Secret('postgres://u:p@db.test/app'));
    await checkMintedSecret('github_app', github, new Secret(pem('rsa')));
    await checkMintedSecret('aws_sts', aws, null);
    await checkMintedSecret('aws_sts', { ...aws, accessKeyId: 'AKIA' }, new Secret('x'));
    await checkMintedSecret('token_exchange', exchange, null);
    await checkMintedSecret(
      'token_exchange',
      { ...exchange, clientAuth: 'private_key_jwt' },
      new Secret(pem('ec')),
    );
    await checkMintedSecret('static', {}, null);
  });

  test.each<[string, object, string | null]>([
    ['postgres', {}, null],
    ['github_app', github, 'no key'],
    ['github_app', github, pem('ec')],
    ['aws_sts', aws, 'x'],
    ['aws_sts', { ...aws, accessKeyId: 'AKIA' }, null],
    ['token_exchange', exchange, 'x'],
    ['token_exchange', { ...exchange, clientAuth: 'client_secret_basic' }, null],
    ['token_exchange', { ...exchange, clientAuth: 'private_key_jwt' }, 'no key'],
  ])('a secret that does not fit is refused before it is stored: %s', async (kind, settings, secret) => {
    const given = secret === null ? null : new Secret(secret);
    await expect(checkMintedSecret(kind, settings, given)).rejects.toMatchObject({
      code: 'KX_PROVIDER_INVALID',
    });
  });
});
