import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CommandResult } from '@kontext/testkit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startTestBackend, type TestBackend } from './rpc/test-backend.ts';
import { createTestServices, type TestServices } from './session/test-services.ts';
import { createTestContext, type TestContext } from './test-context.ts';
import {
  buildTestProgram,
  createLoggedInContext,
  type RunOptions,
  type TestProgram,
} from './test-program.ts';

let program: TestProgram;
let backend: TestBackend;
let services: TestServices;
let context: TestContext;

beforeAll(async () => {
  program = await buildTestProgram();
});
afterAll(() => program.close());
beforeEach(async () => {
  services = createTestServices();
  backend = await startTestBackend(services.routes);
  context = await createLoggedInContext(backend.url);
});
afterEach(async () => {
  context.close();
  await backend.close();
});

const kontext = (args: string, options?: RunOptions): Promise<CommandResult> =>
  program.run(context, args.split(' '), options);
const writeTemplate = (text: string) => writeFileSync(join(context.home, '.env.kontext'), text);
const keysOf = (result: CommandResult) => Object.keys(JSON.parse(result.stdout)).sort();

describe('the command line', () => {
  it.each([
    ['nosuch', "unknown command 'nosuch'"],
    ['login --nosuch', "unknown option '--nosuch'"],
    ['connect', "missing required argument 'provider'"],
    ['providers add x --client-auth magic', 'Allowed choices'],
    ['run', 'there is no command to run'],
    ['providers', 'a command is missing'],
    ['audit tail --since never', '--since cannot be used'],
  ])('refuses `kontext %s` with 64 and says why', async (args, why) => {
    const result = await kontext(args);
    expect(result).toMatchObject({ exitCode: 64, stdout: '' });
    expect(result.stderr).toContain(why);
    expect(result.stderr).toContain('KX_USAGE');
  });

  it.each(['--help', 'login --help', '--version', '-V'])(
    'answers `kontext %s` on standard output',
    async (args) => {
      const result = await kontext(args);
      expect(result).toMatchObject({ exitCode: 0, stderr: '' });
      expect(result.stdout).not.toBe('');
    },
  );

  it('takes global flags before and after the command', async () => {
    const away = await program.run(context, ['--api-url', 'http://127.0.0.1:1', 'status', '--json']);
    expect(JSON.parse(away.stdout).apiUrl).toBe('http://127.0.0.1:1');
    const same = await program.run(context, ['status', '--json', '--api-url=http://127.0.0.1:2']);
    expect(JSON.parse(same.stdout).apiUrl).toBe('http://127.0.0.1:2');
  });

  it.each([
    ['logout', 64, 'KX_SESSION_NESTED'],
    ['trust', 64, 'KX_SESSION_NESTED'],
    ['connections revoke con_1', 64, 'KX_SESSION_NESTED'],
    ['providers add x --static', 77, 'KX_SESSION_REFUSED'],
    ['providers rm x', 77, 'KX_SESSION_REFUSED'],
    ['secrets put stripe', 77, 'KX_SESSION_REFUSED'],
    ['members role x owner', 77, 'KX_SESSION_REFUSED'],
    ['members suspend x', 77, 'KX_SESSION_REFUSED'],
    ['members restore x', 77, 'KX_SESSION_REFUSED'],
  ])('refuses `kontext %s` inside a session', async (args, exitCode, code) => {
    const result = await kontext(args, { env: { KONTEXT_SESSION_ID: 'ses_1' }, stdin: 'value' });
    expect(result.exitCode).toBe(exitCode);
    expect(result.stderr).toContain(code);
    expect(services.puts).toEqual([]);
  });

  it('prints versions with pinned keys', async () => {
    expect(keysOf(await kontext('version --json'))).toEqual([
      'arch',
      'node',
      'platform',
      'protocol',
      'version',
    ]);
  });
});

describe('status', () => {
  const keys = [
    'apiUrl',
    'auditTrouble',
    'backend',
    'error',
    'issuer',
    'live',
    'loggedIn',
    'login',
    'loginStore',
    'org',
    'policyKeyPinned',
    'role',
    'session',
    'spool',
    'user',
  ];

  it('tells account, organisation, store and backend', async () => {
    const result = await kontext('status --json');
    expect(result.exitCode).toBe(0);
    expect(keysOf(result)).toEqual(keys);
    expect(JSON.parse(result.stdout)).toMatchObject({
      loggedIn: true,
      user: { name: 'usr_1@example.com' },
      org: { name: 'Example' },
      backend: { reachable: true, version: '1.2.3', clockSkewMs: 0 },
      policyKeyPinned: true,
      spool: { sessions: 0, bytes: 0, events: 0, oldestAt: null, trouble: null, refused: 0 },
      error: null,
    });
  });

  it('keeps its keys, and the login, when the backend is away: offline is not logged out', async () => {
    await backend.close();
    const result = await kontext('status --json');
    backend = await startTestBackend();
    expect(result.exitCode).toBe(69);
    expect(keysOf(result)).toEqual(keys);
    expect(JSON.parse(result.stdout)).toMatchObject({
      loggedIn: true,
      user: { name: 'usr_1@example.com' },
      backend: { reachable: false },
      error: { code: 'KX_BACKEND_UNREACHABLE', next: expect.stringContaining('kontext serve') },
    });
  });

  it('says that nobody is logged in, and whether a backend is there', async () => {
    const other = createTestContext({ apiUrl: backend.url });
    const result = await program.run(other, ['status', '--json']);
    other.close();
    expect(result.exitCode).toBe(77);
    expect(keysOf(result)).toEqual(keys);
    expect(JSON.parse(result.stdout)).toMatchObject({
      loggedIn: false,
      user: null,
      backend: { reachable: true },
      error: { code: 'KX_NOT_LOGGED_IN' },
    });
  });

  it('says that the clock is wrong', async () => {
    backend.clockOffsetMs = -7_200_000;
    backend.oauth.requireNonce = true;
    const { stdout } = await kontext('status');
    expect(stdout).toMatch(/clock +off by -7\d{3} s/);
  });
});

describe('logout', () => {
  it('revokes at the backend and wipes the login', async () => {
    expect(await kontext('logout')).toMatchObject({ exitCode: 0 });
    expect(backend.oauth.revoked).toHaveLength(1);
    expect((await kontext('status')).exitCode).toBe(77);
  });

  it('wipes offline too, and says what it could not do', async () => {
    await backend.close();
    const result = await kontext('logout');
    backend = await startTestBackend();
    expect(result.exitCode).toBe(0);
    expect(result.stderr).toContain('could not be revoked at the backend');
    expect((await kontext('status')).exitCode).toBe(77);
  });

  it('says when events of earlier sessions could not be sent before', async () => {
    const spool = join(context.config.stateDir, 'spool', 'ses_0');
    mkdirSync(spool, { recursive: true });
    writeFileSync(join(spool, '000001.ndjson'), '{"v":1,"kind":"record","line":1} of another key\n');
    const shown = await kontext('status');
    const result = await kontext('logout');
    expect(shown.stdout).toMatch(
      /spool +1 event\(s\) of 1 session\(s\), \d+ bytes, wait .* oldest for \d+ s/,
    );
    expect(result.exitCode).toBe(0);
    expect(result.stderr).toContain('1 event(s) of 1 session(s) could not be sent');
    expect(result.stderr).toMatch(/why: .*\(KX_\w+\)/);
  });

  it('is no error when nobody is logged in', async () => {
    await kontext('logout');
    expect((await kontext('logout')).exitCode).toBe(0);
  });
});

describe('a signal', () => {
  const start = (args: readonly string[]) => {
    const child = spawn(process.execPath, [program.path, ...args], {
      cwd: context.home,
      env: { ...context.config.environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
    return { child, output: () => output, ended };
  };

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s during login ends it with %i', async (signal, exitCode) => {
    backend.oauth.interval = 30;
    const { child, output, ended } = start(['login']);
    await expect.poll(output).toContain('enter the code');
    child.kill(signal);
    expect(await ended).toBe(exitCode);
  });

  it('to a running child is handed on, and the session ends with 128 + n', async () => {
    writeTemplate('B=b');
    const wait = "console.log('ready'); setInterval(() => undefined, 1000)";
    const { child, output, ended } = start(['run', '--trust', '--', process.execPath, '-e', wait]);
    await expect.poll(output).toContain('ready');
    child.kill('SIGTERM');
    expect(await ended).toBe(143);
    expect([...services.sessions]).toEqual([['ses_1', 143]]);
  });
});

describe('a backend behind TLS', () => {
  const pem = (name: string) => new URL(`rpc/testdata/${name}`, import.meta.url);
  let secure: TestBackend;
  let home: TestContext;
  beforeEach(async () => {
    const files = {
      cert: readFileSync(pem('self-signed-cert.pem')),
      key: readFileSync(pem('self-signed-key.pem')),
    };
    secure = await startTestBackend(services.routes, files);
    home = createTestContext({ apiUrl: secure.url });
  });
  afterEach(async () => {
    home.close();
    await secure.close();
  });

  it('is used for login and calls when its authority is named', async () => {
    const env = { NODE_EXTRA_CA_CERTS: fileURLToPath(pem('self-signed-cert.pem')) };
    expect((await program.run(home, ['login'], { env })).exitCode).toBe(0);
    expect((await program.run(home, ['status'], { env })).exitCode).toBe(0);
    // One of the login, one of the status. What lives is asked for side by side, and may be cut short.
    expect(secure.calls.filter((path) => path.endsWith('/GetCaller'))).toHaveLength(2);
  });

  it('is refused when nobody vouches for it, with the setting that helps', async () => {
    const result = await program.run(home, ['login']);
    expect(result.exitCode).toBe(69);
    expect(result.stderr).toMatch(/self-signed.*KX_TLS_FAILED[\s\S]*NODE_EXTRA_CA_CERTS/);
    expect(secure.calls).toEqual([]);
  });
});

it('writes the frames of an error to the log, and none of its words', async () => {
  await kontext('connect nosuch', { env: { KONTEXT_LOG: 'debug' } });
  const log = readFileSync(join(context.config.stateDir, 'kontext.log'), 'utf8');
  expect(log).toMatch(/error KontextError KX_PROVIDER_UNKNOWN\n.* at /);
  expect(log).not.toContain('no provider nosuch');
});

it('keeps the login out of everything but its own file', async () => {
  writeTemplate('A={{kontext:github}}');
  const { stdout, stderr } = await program.run(context, ['run', '--trust', '--', 'true'], {
    env: { KONTEXT_LOG: 'debug' },
  });
  const [refreshToken] = backend.oauth.refreshes;
  expect(refreshToken).toMatch(/^refresh-/);
  const log = readFileSync(join(context.config.stateDir, 'kontext.log'), 'utf8');
  expect(log).toMatch(/rpc kontext\.v1\.SessionService\/OpenSession ok \d+ ms/);
  expect(stdout + stderr + log).not.toContain(refreshToken);
  expect(log).not.toMatch(/DPoP|value/);
  const trust = readFileSync(join(context.config.stateDir, 'trust.json'), 'utf8');
  expect(trust).not.toContain('value');
});
