import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { CommandResult } from '@kontext/testkit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startTestBackend, type TestBackend } from '../rpc/test-backend.ts';
import { createTestServices, type TestServices } from '../session/test-services.ts';
import type { TestContext } from '../test-context.ts';
import {
  buildTestProgram,
  createLoggedInContext,
  type RunOptions,
  type TestProgram,
} from '../test-program.ts';

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

describe('run', () => {
  const show = 'process.stdout.write(JSON.stringify(process.env))';
  const run = (...args: string[]) => program.run(context, ['run', '--trust', ...args]);

  it('gives the child its credentials, hands its exit code through and ends the session with it', async () => {
    writeTemplate('A={{kontext:github}}\nB="x {{kontext:stripe}} y"\nC=literal');
    const result = await run('--', process.execPath, '-e', `${show}; process.exitCode = 42`);
    expect(result.exitCode).toBe(42);
    expect(JSON.parse(result.stdout)).toMatchObject({
      A: 'github-token-value',
      B: 'x stripe-key-value y',
      C: 'literal',
      KONTEXT_SESSION_ID: 'ses_1',
    });
    expect(result.stderr).toContain('2 credentials (1 short-lived, 1 static), session ses_1');
    expect(result.stderr).not.toContain('-value');
    expect([...services.sessions]).toEqual([['ses_1', 42]]);
  });

  it('ends the session also when something is missing, and runs nothing', async () => {
    writeTemplate('A={{kontext:linear}}');
    const result = await run('--', process.execPath, '-e', show);
    expect(result).toMatchObject({ exitCode: 77, stdout: '' });
    expect(result.stderr).toContain('https://kontext.example/linear');
    expect([...services.sessions]).toEqual([['ses_1', 1]]);
  });

  it('goes on with --allow-missing', async () => {
    writeTemplate('A={{kontext:linear}}\nB=b');
    const result = await run('--allow-missing', '--', process.execPath, '-e', show);
    expect(result.exitCode).toBe(0);
    expect(JSON.parse(result.stdout)).not.toHaveProperty('A');
  });

  it('gives 128 + n when a signal ended the child', async () => {
    writeTemplate('B=b');
    const result = await run('--', process.execPath, '-e', "process.kill(process.pid, 'SIGKILL')");
    expect(result.exitCode).toBe(137);
    expect([...services.sessions.values()]).toEqual([137]);
  });

  it('says 127 before anything else when the command is not there, 126 when it cannot run', async () => {
    writeTemplate('A={{kontext:github}}');
    writeFileSync(join(context.home, 'plain'), '');
    chmodSync(join(context.home, 'plain'), 0o600);
    expect((await run('--', 'nosuchcommand')).exitCode).toBe(127);
    expect((await run('--', './plain')).exitCode).toBe(126);
    expect(backend.calls).not.toContain('/kontext.v1.SessionService/OpenSession');
  });

  it('asks for trust first: without a terminal 77', async () => {
    writeTemplate('A={{kontext:github}}');
    const refused = await program.run(context, ['run', '--', 'true']);
    expect(refused.exitCode).toBe(77);
    expect(refused.stderr).toContain('kontext trust');
    expect((await kontext('trust')).exitCode).toBe(0);
    expect((await program.run(context, ['run', '--', 'true'])).exitCode).toBe(0);
  });

  it('shows in a dry run what would be set, never a value, opens no session and needs no trust', async () => {
    writeTemplate('A={{kontext:github?scope=repo}}\nB={{kontext:stripe}}\nC={{kontext:linear}}\nD=d');
    const result = await program.run(context, ['run', '--dry-run']);
    expect(result.exitCode).toBe(77);
    const rows = result.stdout
      .trim()
      .split('\n')
      .map((line) => line.split('\t'));
    expect(rows.map((row) => row.slice(0, 4))).toEqual([
      ['A', 'github', 'oauth', 'repo'],
      ['B', 'stripe', 'static', '-'],
      ['C', 'linear', '-', '-'],
      ['D', '-', 'literal', '-'],
    ]);
    expect(rows[2]?.[5]).toContain('KX_CONNECTION_MISSING');
    expect(result.stdout).not.toContain('-value');
    expect(services.sessions.size).toBe(0);
    expect(services.resolves).toEqual([{ sessionId: '', dryRun: true, count: 3 }]);
  });

  it('shows a dry run as JSON of a pinned shape', async () => {
    writeTemplate(
      'A="{{kontext:github?scope=repo}} x"\nB={{kontext:linear/team}}\nD=secret-literal\nE={{kontext:}}',
    );
    const result = await program.run(context, ['run', '--dry-run', '--json']);
    expect(result.exitCode).toBe(77);
    const shown = JSON.parse(result.stdout);
    expect(shown).toEqual({
      template: join(context.home, '.env.kontext'),
      ready: false,
      variables: [
        {
          ...{ name: 'A', line: 1, ready: true },
          placeholders: [
            {
              ...{ provider: 'github', resource: '', delivery: 'inject', scopes: ['repo'], ready: true },
              ...{ kind: 'oauth', connection: 'default', expiresAt: null, error: null },
            },
          ],
        },
        {
          ...{ name: 'B', line: 2, ready: false },
          placeholders: [
            {
              ...{ provider: 'linear', resource: 'team', delivery: 'inject', scopes: [], ready: false },
              ...{ kind: null, connection: null, expiresAt: null },
              error: {
                code: 'KX_CONNECTION_MISSING',
                message: 'linear is not connected',
                next: expect.any(String),
                connectUri: 'https://kontext.example/linear',
              },
            },
          ],
        },
        { name: 'D', line: 3, ready: true, placeholders: [] },
      ],
      problems: [
        {
          ...{ line: 4, column: 3, severity: 'error', name: 'E' },
          ...{ code: expect.stringMatching(/^KX_TEMPLATE_/), message: expect.any(String) },
        },
      ],
    });
    expect(result.stdout).not.toMatch(/-value|secret-literal/);
    expect((await run('--json', '--', 'true')).exitCode).toBe(64);
  });

  it('reports a bad line and goes on; with --strict it stops with 65', async () => {
    writeTemplate('A={{kontext:}}\nB=b');
    const lax = await run('--', process.execPath, '-e', show);
    expect(lax.exitCode).toBe(0);
    expect(lax.stderr).toContain('.env.kontext:1:3');
    expect((await run('--strict', '--', 'true')).exitCode).toBe(65);
  });

  it('says 65 without a template, 77 without a login, 69 without a backend', async () => {
    expect((await run('--', 'true')).exitCode).toBe(65);
    writeTemplate('A={{kontext:github}}');
    await kontext('logout');
    const nobody = await run('--', 'true');
    expect(nobody.exitCode).toBe(77);
    expect(nobody.stderr).toContain('kontext login');
  });

  it('says 69 and names `kontext serve` when the backend is away', async () => {
    writeTemplate('A={{kontext:github}}');
    await backend.close();
    const result = await run('--', 'true');
    backend = await startTestBackend();
    expect(result.exitCode).toBe(69);
    expect(result.stderr).toContain('kontext serve');
  });

  it('says 77 when the login has expired, and keeps it', async () => {
    writeTemplate('A={{kontext:github}}');
    backend.oauth.refreshAnswers.push({ status: 400, body: { error: 'invalid_grant' } });
    const result = await run('--', 'true');
    expect(result.exitCode).toBe(77);
    expect(result.stderr).toContain('KX_LOGIN_EXPIRED');
    expect((await kontext('status')).exitCode).toBe(0);
  });
});

describe('providers, connections, secrets', () => {
  const endpoints = '--authorization-endpoint https://p.example/a --token-endpoint https://p.example/t';

  it('adds a provider with its secret from standard input and prints the callback URL alone', async () => {
    const result = await kontext(`providers add acme --client-id id ${endpoints}`, {
      stdin: 'client-secret-value\n',
    });
    expect(result).toMatchObject({ exitCode: 0, stdout: 'https://kontext.example/connect/callback\n' });
    expect(services.added).toMatchObject([{ name: 'acme', clientSecret: 'client-secret-value' }]);
    expect(result.stderr).not.toContain('client-secret-value');
  });

  it('wants no secret from a public client or for a static provider', async () => {
    await kontext(`providers add acme --client-id id --client-auth none ${endpoints}`);
    await kontext('providers add stripe --static');
    expect(services.added.map(({ clientSecret }) => clientSecret)).toEqual(['', '']);
  });

  it('takes the rest from the catalogue when the name is in it, and tells the variable', async () => {
    const result = await kontext(
      'providers add github --client-id id --setting base=https://git.example --setting refreshBeforeSeconds=60 --attach claude,run --max-login-age 8h --approval --lease-ttl 15m',
      { stdin: 'client-secret-value\n' },
    );
    expect(result).toMatchObject({ exitCode: 0, stdout: 'https://kontext.example/connect/callback\n' });
    expect(services.added).toMatchObject([
      {
        ...{ catalogueId: 'github', clientSecret: 'client-secret-value', kind: 1, tokenEndpoint: '' },
        settingsJson: '{"base":"https://git.example","refreshBeforeSeconds":60}',
        agents: [{ agent: 'claude' }, { agent: 'run' }],
        ...{ maxLoginAgeSeconds: 28_800, needsApproval: true, leaseTtlSeconds: 900 },
      },
    ]);
    expect(result.stderr).toContain('GITHUB_TOKEN={{kontext:github}}');
  });

  it('takes an entry under another name, reads the secret of a minted kind, and none with --no-secret', async () => {
    await kontext('providers add prod --from postgres', { stdin: 'postgres://u:p@db.example/d' });
    await kontext('providers add cloud --from aws --no-secret');
    const keys = await kontext('providers add keys --from stripe');
    expect(keys.stderr).toContain('no agent may use it yet');
    expect(keys.stderr).toContain('STRIPE_API_KEY={{kontext:keys}}');
    expect(services.added).toMatchObject([
      { name: 'prod', catalogueId: 'postgres', kind: 5, clientSecret: 'postgres://u:p@db.example/d' },
      { name: 'cloud', catalogueId: 'aws', kind: 4, clientSecret: '' },
      { name: 'keys', catalogueId: 'stripe', kind: 2, clientSecret: '' },
    ]);
  });

  it('asks an issuer for what is not given, and prints JSON when told to', async () => {
    const result = await kontext(
      'providers add acme --issuer https://id.example --client-id id --client-auth private_key_jwt --json',
      { stdin: 'pem' },
    );
    expect(JSON.parse(result.stdout)).toMatchObject({ name: 'acme', issuer: 'https://id.example' });
    expect(services.added).toMatchObject([{ catalogueId: '', clientAuth: 4 }]);
  });

  it.each([
    ['add x --from nosuch', 'no entry of that name'],
    ['add acme --client-id id --issuer https://i.example --settings []', 'not a JSON object'],
    ['add acme --client-id id --issuer https://i.example --settings {', 'not a JSON object'],
    ['add acme --client-id id --issuer https://i.example --setting base', 'name=value'],
    ['add acme --client-id id --issuer https://i.example --lease-ttl soon', '--lease-ttl is no duration'],
  ])('refuses providers %s', async (args, message) => {
    const result = await kontext(`providers ${args}`, { stdin: 'x' });
    expect(result.exitCode).toBe(64);
    expect(result.stderr).toContain(message);
    expect(services.added).toEqual([]);
  });

  it('attaches, detaches and tells what removing left at the provider', async () => {
    expect((await kontext('providers attach github claude --scope repo')).exitCode).toBe(0);
    expect((await kontext('providers detach github claude')).stderr).toContain('ended 2 credentials');
    expect(services.attached).toEqual(['+github claude repo', '-github claude']);
    const removed = await kontext('providers rm github --force');
    expect(removed.stderr).toContain('revoked 3 connections there');
    expect(removed.stderr).toContain('one is left');
  });

  it.each(['add x --static', 'attach github claude', 'detach github claude', 'rm github'])(
    'providers %s is refused inside a session',
    async (args) => {
      const result = await kontext(`providers ${args}`, { env: { KONTEXT_SESSION_ID: 'ses_1' } });
      expect(result.exitCode).toBe(77);
      expect(result.stderr).toContain('KX_SESSION_REFUSED');
      expect(services.added.length + services.attached.length).toBe(0);
    },
  );

  it('names the option that is missing', async () => {
    const result = await kontext('providers add acme --client-id id');
    expect(result.exitCode).toBe(64);
    expect(result.stderr).toContain('--authorization-endpoint is missing');
  });

  it('refuses an empty secret', async () => {
    expect((await kontext('secrets put stripe')).stderr).toContain('KX_SECRET_INVALID');
    expect(services.puts).toEqual([]);
  });

  it('stores a secret from standard input, with several lines as they are', async () => {
    await kontext('secrets put stripe --name live --shared', { stdin: '-----BEGIN\nabc\n-----END\n' });
    expect(services.puts).toEqual([
      { provider: 'stripe', name: 'live', value: '-----BEGIN\nabc\n-----END', shared: true },
    ]);
  });

  it('refuses a secret of more than 64 KiB', async () => {
    const result = await kontext('secrets put stripe', { stdin: 'x'.repeat(64 * 1024 + 1) });
    expect(result.stderr).toContain('KX_SECRET_INVALID');
  });

  it('passes the code of the backend on', async () => {
    const result = await kontext('providers rm github');
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain('KX_PROVIDER_IN_USE');
    expect((await kontext('providers rm github --force')).exitCode).toBe(0);
  });

  it('lists with pinned keys', async () => {
    const [provider] = JSON.parse((await kontext('providers ls --json')).stdout);
    expect(Object.keys(provider).sort()).toEqual([
      ...['agents', 'authorizationEndpoint', 'callbackUrl', 'catalogueId', 'clientId', 'issuer', 'kind'],
      ...['leaseTtlSeconds', 'maxLoginAgeSeconds', 'name', 'needsApproval', 'revocationEndpoint', 'scopes'],
      ...['settings', 'title', 'tokenEndpoint', 'variables'],
    ]);
    const [entry] = JSON.parse((await kontext('providers catalogue --json')).stdout);
    expect(Object.keys(entry).sort()).toEqual([
      ...['authorizationEndpoint', 'id', 'kind', 'revocationEndpoint', 'scopes', 'settings', 'title'],
      ...['tokenEndpoint', 'variables'],
    ]);
    const [connection] = JSON.parse((await kontext('connections ls --json')).stdout);
    expect(Object.keys(connection).sort()).toEqual([
      'account',
      'connectedAt',
      'failure',
      'id',
      'lastUsedAt',
      'liveLeases',
      'name',
      'provider',
      'scopes',
      'shared',
      'state',
    ]);
  });

  it('tests a connection, and says by the exit code whether it works', async () => {
    const good = await kontext('connections test con_a');
    expect([good.exitCode, good.stdout]).toEqual([0, 'works; it answered; account octocat; scopes repo\n']);
    const bad = await kontext('connections test con_b --json');
    expect(bad.exitCode).toBe(1);
    expect(JSON.parse(bad.stdout)).toEqual({
      ...{ id: 'con_b', works: false, scopes: [], account: '' },
      message: 'it wants the user to log in again',
    });
  });

  it('reconnects the same connection with what it has and what is added', async () => {
    services.connectsItself = true;
    const result = await kontext('connections reconnect con_a --scope gist --wait');
    expect(result.exitCode).toBe(0);
    expect(services.begun).toMatchObject([
      { provider: 'github', name: 'default', scopes: ['repo', 'gist'], shared: false },
    ]);
  });

  it('says when the provider was not told of a revocation', async () => {
    const result = await kontext('connections revoke con_a');
    expect(result.exitCode).toBe(0);
    expect(result.stderr).toContain('the provider was not told');
    expect(services.revoked).toEqual(['con_a']);
  });
});

describe('connect', () => {
  it('without a terminal prints the link and ends with 77', async () => {
    const result = await kontext('connect linear');
    expect(result.exitCode).toBe(77);
    expect(result.stderr).toContain('https://kontext.example/connect/con_1');
    expect(result.stderr).toContain('--wait');
  });

  it('asks for a shared connection with --shared', async () => {
    await kontext('connect linear --shared --scope read');
    expect(services.begun).toMatchObject([
      { provider: 'linear', scopes: ['read'], shared: true, addScopes: true },
    ]);
  });

  it('waits with --wait until the provider is connected', async () => {
    services.connectsItself = true;
    const result = await kontext('connect linear --wait');
    expect(result.exitCode).toBe(0);
    expect(result.stderr).toContain('linear is connected');
  });

  it('names an unknown provider', async () => {
    expect((await kontext('connect nosuch')).stderr).toContain('KX_PROVIDER_UNKNOWN');
  });
});

describe('serve', () => {
  const writeBackend = (directory: string, text: string) => {
    mkdirSync(directory, { recursive: true });
    const path = join(directory, 'kontext-backend');
    writeFileSync(path, `#!/bin/sh\n${text}\n`);
    chmodSync(path, 0o755);
  };

  it('says how to install the backend when it is not there', async () => {
    const result = await kontext('serve', { env: { PATH: context.home } });
    expect(result.exitCode).toBe(78);
    expect(result.stderr).toContain('KX_BACKEND_NOT_INSTALLED');
    expect(result.stderr).toContain('npm install -g @kontext/backend');
  });

  it('runs the one on PATH, passes output and exit code through', async () => {
    const directory = join(context.home, 'bin');
    writeBackend(directory, 'echo "args: $*"; exit 3');
    const result = await program.run(context, ['serve', '--', '--verbose'], {
      env: { PATH: `${directory}:${dirname(process.execPath)}:/usr/bin:/bin` },
    });
    expect(result).toMatchObject({ exitCode: 3, stdout: 'args: serve --verbose\n' });
  });
});
