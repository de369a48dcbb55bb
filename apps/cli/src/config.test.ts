import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Flags, loadConfig, settings } from './config.ts';

let home: string;
let project: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'kx-config-'));
  project = join(home, 'project');
  mkdirSync(join(home, '.config', 'kontext'), { recursive: true });
  mkdirSync(project);
});
afterEach(() => rmSync(home, { recursive: true }));

const load = (flags: Flags = {}, env: Record<string, string> = {}) =>
  loadConfig(flags, { HOME: home, ...env }, project);
const writeUser = (value: unknown) =>
  writeFileSync(join(home, '.config', 'kontext', 'config.json'), JSON.stringify(value));
const writeProject = (value: unknown) => writeFileSync(join(project, '.kontext.json'), JSON.stringify(value));

describe('precedence', () => {
  it('is flag, environment, project file, user file, default', () => {
    expect(load().agent).toBe('claude');
    writeUser({ agent: 'from-user' });
    expect(load().agent).toBe('from-user');
    writeProject({ agent: 'from-project' });
    expect(load().agent).toBe('from-project');
    expect(load({}, { KONTEXT_AGENT: 'from-env' }).agent).toBe('from-env');
    expect(load({ agent: 'from-flag' }, { KONTEXT_AGENT: 'from-env' }).agent).toBe('from-flag');
  });

  it('counts an empty variable as unset', () => {
    writeUser({ agent: 'from-user' });
    expect(load({}, { KONTEXT_AGENT: '' }).agent).toBe('from-user');
  });
});

describe('a project file', () => {
  it.each(['api-url', 'issuer', 'login-store', 'mode', 'hook-timeout-ms'])('may not set %s', (key) => {
    writeProject({ [key]: 'x' });
    expect(() => load()).toThrow(expect.objectContaining({ code: 'KX_CONFIG_INVALID' }));
  });

  it('that never ends is refused, not read', () => {
    symlinkSync('/dev/zero', join(project, '.kontext.json'));
    expect(() => load()).toThrow(expect.objectContaining({ code: 'KX_CONFIG_INVALID' }));
  });

  it('may set env-file and agent', () => {
    writeProject({ 'env-file': 'other.env', agent: 'codex' });
    expect(load()).toMatchObject({ envFile: join(project, 'other.env'), agent: 'codex' });
  });
});

describe('the URL of the backend', () => {
  it('defaults to loopback, with the issuer below it', () => {
    expect(load()).toMatchObject({
      apiUrl: 'http://127.0.0.1:4180',
      issuer: 'http://127.0.0.1:4180/oauth',
    });
  });

  it.each(['http://localhost:1/', 'http://127.1.2.3:1', 'http://[::1]:1'])(
    'may be plain http at %s',
    (url) => {
      expect(load({ apiUrl: url }).apiUrl).toBe(url.replace(/\/$/, ''));
    },
  );

  it.each(['http://example.com', 'http://127.0.0.1.example.com', 'http://10.0.0.1'])(
    'may not be plain http at %s',
    (url) => {
      expect(() => load({ apiUrl: url })).toThrow(expect.objectContaining({ code: 'KX_INSECURE_URL' }));
    },
  );

  it.each(['', 'nonsense', 'ftp://a', 'https://u:p@a', 'https://a/?q', 'https://a/#f'])(
    'may not be %j',
    (url) => {
      expect(() => load({ apiUrl: url })).toThrow(expect.objectContaining({ code: 'KX_CONFIG_INVALID' }));
    },
  );
});

it.each([
  ['KONTEXT_MODE', 'off'],
  ['KONTEXT_LOGIN_STORE', 'keyutils'],
  ['KONTEXT_HOOK_TIMEOUT_MS', '99'],
  ['KONTEXT_HOOK_TIMEOUT_MS', '1e4'],
  ['KONTEXT_LOG', 'yes'],
])('refuses %s=%s and names the variable', (name, value) => {
  expect(() => load({}, { [name]: value })).toThrow(
    expect.objectContaining({ message: `${name} cannot be used` }),
  );
});

it.each(['{', '[]', '{"nonsense":1}', '{"agent":{}}'])('refuses a user file that holds %s', (text) => {
  writeFileSync(join(home, '.config', 'kontext', 'config.json'), text);
  expect(() => load()).toThrow(expect.objectContaining({ code: 'KX_CONFIG_INVALID' }));
});

describe('asking', () => {
  it.each([
    [{ CI: 'true' }],
    [{ KONTEXT_NO_INPUT: '1' }],
    [{ CLAUDECODE: '1' }],
    [{ KONTEXT_SESSION_ID: 'ses_1' }],
  ])('is off with %j', (env) => {
    expect(load({}, env).mayAsk).toBe(false);
  });

  it('is on without, and off by flag', () => {
    expect(load({}, { CI: 'false' }).mayAsk).toBe(true);
    expect(load({ input: false }).mayAsk).toBe(false);
  });
});

it('follows the XDG directories and ignores relative ones', () => {
  const at = load({}, { XDG_CONFIG_HOME: '/c', XDG_STATE_HOME: 'relative', XDG_RUNTIME_DIR: '/r' });
  expect(at).toMatchObject({
    configDir: '/c/kontext',
    stateDir: join(home, '.local/state/kontext'),
    runtimeDir: '/r/kontext',
  });
  expect(load({}, { KONTEXT_CONFIG_DIR: '/d' }).configDir).toBe('/d');
});

it('keeps the login in a file only when told to', () => {
  expect(load().loginStore).toBeNull();
  expect(load({ insecureStorage: true }).loginStore).toBe('file');
  expect(load({}, { KONTEXT_LOGIN_STORE: 'file' }).loginStore).toBe('file');
});

it('documents each setting once, with a sentence', () => {
  expect(new Set(settings.map(({ name }) => name)).size).toBe(settings.length);
  for (const { meaning } of settings) expect(meaning).toMatch(/\.$/);
});
