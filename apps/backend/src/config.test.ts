import { fileURLToPath } from 'node:url';
import { KontextError } from '@kontext/errors';
import { describe, expect, it } from 'vitest';
import { isLoopbackHost, loadConfig, settings } from './config.ts';

const thisFile = fileURLToPath(import.meta.url);

const refused = (env: Record<string, string>): KontextError => {
  try {
    loadConfig(env);
  } catch (error) {
    if (error instanceof KontextError) return error;
    throw error;
  }
  throw new Error('was accepted');
};

describe('loadConfig', () => {
  it('is in local mode on the default loopback port when nothing is set', () => {
    const config = loadConfig({});
    expect(config).toMatchObject({
      local: true,
      databaseUrl: null,
      apiUrl: 'http://127.0.0.1:4180',
      listen: { host: '127.0.0.1', port: 4180 },
      tls: null,
      lostSessionMs: 90_000,
      logLevel: 'info',
    });
    expect(config.dataDir).toMatch(/kontext\/backend$/);
  });

  it('accepts Postgres behind a proxy with an https public URL', () => {
    const env = {
      DATABASE_URL: 'postgres://db/kontext',
      KONTEXT_LISTEN: '0.0.0.0:8080',
      KONTEXT_PUBLIC_URL: 'https://kontext.example.com',
      KONTEXT_TRUSTED_PROXIES: '10.0.0.0/8, 192.0.2.1',
    };
    expect(loadConfig(env)).toMatchObject({
      local: false,
      apiUrl: 'https://kontext.example.com',
      listen: { host: '0.0.0.0', port: 8080 },
      trustedProxies: ['10.0.0.0/8', '192.0.2.1'],
    });
  });

  it('allows local mode with Postgres and with an IPv6 loopback address', () => {
    const env = { DATABASE_URL: 'postgres://db/kontext', KONTEXT_LOCAL: '1', KONTEXT_LISTEN: '[::1]:9' };
    expect(loadConfig(env)).toMatchObject({ local: true, apiUrl: 'http://[::1]:9' });
  });

  it('takes hosts that may have a private address', () => {
    const hosts = ' IdP.corp.test, 10.0.0.7:8443,[fd00::1] , idp.test:443';
    const { outboundHosts } = loadConfig({ KONTEXT_OUTBOUND_HOSTS: hosts });
    expect(outboundHosts).toEqual(['idp.corp.test', '10.0.0.7:8443', '[fd00::1]', 'idp.test:443']);
    for (const bad of ['https://idp.test', 'idp.test/path', '10.0.0.0/8', 'a b', 'me@idp.test']) {
      expect(() => loadConfig({ KONTEXT_OUTBOUND_HOSTS: bad }), bad).toThrow(/KONTEXT_OUTBOUND_HOSTS/);
    }
  });

  it('treats an empty variable as unset', () => {
    expect(loadConfig({ KONTEXT_LISTEN: '', DATABASE_URL: '' }).listen.port).toBe(4180);
  });

  it.each([
    ['local mode beyond loopback', { KONTEXT_LISTEN: '0.0.0.0:4180' }, 'KONTEXT_LISTEN'],
    ['a listen address without port', { KONTEXT_LISTEN: 'localhost' }, 'KONTEXT_LISTEN'],
    ['a port beyond 65535', { KONTEXT_LISTEN: '127.0.0.1:70000' }, 'KONTEXT_LISTEN'],
    ['port 0 without a public URL', { KONTEXT_LISTEN: '127.0.0.1:0' }, 'KONTEXT_LISTEN'],
    ['the embedded database outside local mode', { KONTEXT_LOCAL: '0' }, 'KONTEXT_LOCAL'],
    ['a flag that is neither 0 nor 1', { KONTEXT_LOCAL: 'maybe' }, 'KONTEXT_LOCAL'],
    ['a database URL of another kind', { DATABASE_URL: 'mysql://db' }, 'DATABASE_URL'],
    ['no public URL outside local mode', { DATABASE_URL: 'postgres://db/x' }, 'KONTEXT_PUBLIC_URL'],
    [
      'a plain http public URL',
      { DATABASE_URL: 'postgres://db/x', KONTEXT_PUBLIC_URL: 'http://a.test' },
      'KONTEXT_PUBLIC_URL',
    ],
    ['a public URL with a path', { KONTEXT_PUBLIC_URL: 'https://a.test/kontext' }, 'KONTEXT_PUBLIC_URL'],
    ['a public name for local mode', { KONTEXT_PUBLIC_URL: 'https://a.test' }, 'KONTEXT_PUBLIC_URL'],
    ['a public URL that is none', { KONTEXT_PUBLIC_URL: 'kontext' }, 'KONTEXT_PUBLIC_URL'],
    ...['proxy.internal', '10.0.0.0/33', '10.0.0.0/x', '10.0.0.1,,*'].map(
      (value): [string, Record<string, string>, string] => [
        `the trusted proxy ${value}`,
        { KONTEXT_TRUSTED_PROXIES: value },
        'KONTEXT_TRUSTED_PROXIES',
      ],
    ),
    [
      'a certificate that is none',
      { KONTEXT_TLS_CERT: thisFile, KONTEXT_TLS_KEY: thisFile },
      'KONTEXT_TLS_CERT',
    ],
    ['a certificate without key', { KONTEXT_TLS_CERT: '/none.pem' }, 'KONTEXT_TLS_KEY'],
    ['a key without certificate', { KONTEXT_TLS_KEY: '/none.pem' }, 'KONTEXT_TLS_CERT'],
    [
      'a certificate that cannot be read',
      { KONTEXT_TLS_CERT: '/none.pem', KONTEXT_TLS_KEY: '/none.pem' },
      'KONTEXT_TLS_CERT',
    ],
    ['a relative data directory', { KONTEXT_DATA_DIR: 'data' }, 'KONTEXT_DATA_DIR'],
    ['an unknown log level', { KONTEXT_LOG_LEVEL: 'loud' }, 'KONTEXT_LOG_LEVEL'],
  ])('refuses %s and names the variable', (_situation, env, name) => {
    const error = refused(env as Record<string, string>);
    expect(error.code).toBe('KX_CONFIG_INVALID');
    expect(error.message).toContain(name);
  });

  it('never repeats the value of a variable, which may hold a password', () => {
    const error = refused({ DATABASE_URL: 'mysql://user:hunter2@db' });
    expect(`${error.message} ${error.why} ${error.hint}`).not.toContain('hunter2');
  });
});

describe('keys of key services', () => {
  const arn = 'aws:arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab';
  const google = 'gcp:projects/p/locations/eu/keyRings/r/cryptoKeys/k';
  const vault = { KONTEXT_VAULT_ADDR: 'https://vault.test/', KONTEXT_VAULT_TOKEN_FILE: '/run/token' };

  it('are taken in order, once each', () => {
    const config = loadConfig({ KONTEXT_KMS_KEYS: `${arn}, ${google},${arn}`, ...vault });
    expect(config).toMatchObject({ kmsKeys: [arn, google], vault: null });
    expect(loadConfig({})).toMatchObject({ kmsKeys: [], vault: null });
  });

  it('of Vault bring its address, token file and namespace', () => {
    const config = loadConfig({
      KONTEXT_KMS_KEYS: 'vault:team/transit/k',
      ...vault,
      KONTEXT_VAULT_NAMESPACE: 'a',
    });
    expect(config.vault).toEqual({
      address: 'https://vault.test',
      tokenFile: '/run/token',
      namespace: 'a',
    });
  });

  it.each([
    'kek-1',
    'aws:alias/kontext',
    'aws:arn:aws:kms:eu-west-1:111122223333:alias/kontext',
    'gcp:projects/p/locations/eu/keyRings/r',
    'gcp:projects/p/locations/eu/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1',
    'vault:kontext',
    'vault:transit/../sys/kontext',
    'azure:key',
  ])('are refused when they are no full name of a key (%s)', (id) => {
    expect(refused({ KONTEXT_KMS_KEYS: `${arn},${id}` })).toMatchObject({
      code: 'KX_CONFIG_INVALID',
      message: 'KONTEXT_KMS_KEYS cannot be used',
    });
  });

  it.each([
    [{ KONTEXT_VAULT_ADDR: '' }, 'KONTEXT_VAULT_ADDR'],
    [{ KONTEXT_VAULT_ADDR: 'http://vault.test' }, 'KONTEXT_VAULT_ADDR'],
    [{ KONTEXT_VAULT_ADDR: 'https://u:p@vault.test' }, 'KONTEXT_VAULT_ADDR'],
    [{ KONTEXT_VAULT_ADDR: 'https://vault.test?x' }, 'KONTEXT_VAULT_ADDR'],
    [{ KONTEXT_VAULT_TOKEN_FILE: '' }, 'KONTEXT_VAULT_TOKEN_FILE'],
    [{ KONTEXT_VAULT_TOKEN_FILE: 'token' }, 'KONTEXT_VAULT_TOKEN_FILE'],
  ])('of Vault are refused with %j', (change, name) => {
    const error = refused({ KONTEXT_KMS_KEYS: 'vault:transit/k', ...vault, ...change });
    expect(error.message).toBe(`${name} cannot be used`);
  });
});

describe('the size of exports', () => {
  it('is 8 GiB of one organisation, or what is set', () => {
    expect(loadConfig({}).exportMaxBytes).toBe(8 * 1024 ** 3);
    expect(loadConfig({ KONTEXT_EXPORT_MIB: '512' }).exportMaxBytes).toBe(512 * 1024 ** 2);
  });

  it.each(['0', '-1', '1.5', 'all', '1048577'])('cannot be %s', (value) => {
    expect(() => loadConfig({ KONTEXT_EXPORT_MIB: value })).toThrow(/KONTEXT_EXPORT_MIB/);
  });
});

describe('settings', () => {
  it('describes every variable', () => {
    expect(settings.length).toBeGreaterThan(8);
    for (const setting of settings) expect(setting.meaning, setting.name).not.toBe('');
  });

  it('shows defaults the schema applies', () => {
    expect(settings.find((setting) => setting.name === 'KONTEXT_LISTEN')?.default).toBe('127.0.0.1:4180');
  });
});

describe('isLoopbackHost', () => {
  it.each(['127.0.0.1', '127.8.0.1', '::1', '[::1]', 'LOCALHOST'])('accepts %s', (host) => {
    expect(isLoopbackHost(host)).toBe(true);
  });
  it.each(['0.0.0.0', '::', '127.evil.test', 'localhost.evil.test', '10.0.0.1'])('refuses %s', (host) => {
    expect(isLoopbackHost(host)).toBe(false);
  });
});
