import { createRouterTransport } from '@connectrpc/connect';
import { parseEnvTemplate } from '@kontext/env-template';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createClients } from '../rpc/clients.ts';
import { createTestCalls } from '../rpc/test-calls.ts';
import { createTestContext, type TestContext } from '../test-context.ts';
import { buildChildEnv } from './child-env.ts';
import { describeCredentials } from './describe-credentials.ts';
import { resolveOrAsk } from './resolve-or-ask.ts';
import { createTestServices, type TestServices } from './test-services.ts';

let services: TestServices;
const contexts: TestContext[] = [];
beforeEach(() => {
  services = createTestServices();
});
afterEach(() => {
  for (const context of contexts.splice(0)) context.close();
});

const start = (text: string, options: { tty?: boolean; allowMissing?: boolean } = {}) => {
  const context = createTestContext({ tty: options.tty ?? false });
  contexts.push(context);
  const transport = createRouterTransport(services.routes);
  const backend = {
    calls: createTestCalls(transport),
    connect: async () => createClients(transport),
  };
  const template = parseEnvTemplate(Buffer.from(text));
  const allowMissing = options.allowMissing ?? false;
  const result = resolveOrAsk({ context, backend, sessionId: 'ses_1', template, allowMissing });
  // The test looks at it later.
  result.catch(() => undefined);
  return { context, template, result };
};

describe('resolving', () => {
  it('asks once for all placeholders, each key once', async () => {
    const { result } = start('A={{kontext:github}}\nB={{kontext:github}}\nC=<<kontext:stripe>>\nD=plain');
    const { credentials, failures } = await result;
    expect(services.resolves).toEqual([{ sessionId: 'ses_1', dryRun: false, count: 2 }]);
    expect(failures).toEqual([]);
    expect(describeCredentials(credentials)).toBe('2 credentials (1 short-lived, 1 static)');
    expect(JSON.stringify([...credentials])).not.toContain('github-token-value');
  });

  it('sends nothing when the template has no placeholder', async () => {
    await start('D=plain').result;
    expect(services.resolves).toEqual([]);
  });

  it('refuses a brokered placeholder: it is never injected instead', async () => {
    const { result } = start('A={{kontext:github?delivery=broker}}');
    await expect(result).rejects.toMatchObject({ code: 'KX_DELIVERY_UNSUPPORTED' });
  });
});

describe('without a terminal', () => {
  it('lists everything that is missing with its link and ends with 77', async () => {
    const { context, result } = start('A={{kontext:linear}}\nB={{kontext:acme}}\nC={{kontext:github}}');
    await expect(result).rejects.toMatchObject({
      code: 'KX_CONNECTION_MISSING',
      spec: { exitCode: 77 },
      hint: expect.stringContaining('--allow-missing'),
    });
    expect(context.stderr()).toContain('https://kontext.example/linear');
    expect(context.stderr()).toContain('https://kontext.example/acme');
  });

  it('names an unknown provider among good ones', async () => {
    const { context, result } = start('A={{kontext:nosuch}}\nC={{kontext:github}}');
    await expect(result).rejects.toMatchObject({ code: 'KX_PROVIDER_UNKNOWN', spec: { exitCode: 77 } });
    expect(context.stderr()).toContain('there is no provider nosuch');
  });

  it('goes on with --allow-missing, and says what is left out', async () => {
    const { context, template, result } = start('A={{kontext:linear}}\nC={{kontext:github}}', {
      allowMissing: true,
    });
    const { credentials } = await result;
    const { env, missing } = buildChildEnv({
      inherited: { A: 'long-lived value of the shell' },
      template,
      credentials,
      sessionId: 'ses_1',
    });
    expect(env).toEqual({ C: 'github-token-value', KONTEXT_SESSION_ID: 'ses_1' });
    expect(missing.map(({ name }) => name)).toEqual(['A']);
    expect(context.stderr()).toContain('linear');
  });
});

describe('in a terminal', () => {
  it('connects on Enter and resolves what was missing', async () => {
    services.connectsItself = true;
    const { context, result } = start('A={{kontext:linear}}\nC={{kontext:github}}', { tty: true });
    await expect.poll(() => context.stderr()).toContain('Enter: connect linear');
    context.type('\n');
    const { credentials, failures } = await result;
    expect(failures).toEqual([]);
    expect(credentials.size).toBe(2);
    expect(context.stderr()).toContain('https://kontext.example/connect/con_1');
    expect(services.resolves.map(({ count }) => count)).toEqual([2, 1]);
  });

  it('connects again, for that scope besides the others, when a connection lacks one', async () => {
    Object.assign(services, { connectsItself: true, missingScope: 'write' });
    const { context, result } = start('A={{kontext:github?scope=write}}', { tty: true });
    await expect.poll(() => context.stderr()).toContain('Enter: connect github');
    context.type('\n');
    expect((await result).failures).toEqual([]);
    expect(services.begun).toMatchObject([{ provider: 'github', scopes: ['write'], addScopes: true }]);
  });

  it('asks again when connecting failed', async () => {
    const { context, result } = start('A={{kontext:linear}}', { tty: true });
    await expect.poll(() => context.stderr()).toContain('Enter: connect linear');
    services.refusesToBegin = 'KX_CONNECT_FAILED';
    context.type('\n');
    await expect.poll(() => context.stderr()).toContain('(KX_CONNECT_FAILED)');
    context.type('s\n');
    expect((await result).failures).toHaveLength(1);
  });

  it('goes on without it on s', async () => {
    const { context, result } = start('A={{kontext:linear}}\nC={{kontext:github}}', { tty: true });
    await expect.poll(() => context.stderr()).toContain('s: go on without it');
    context.type('s\n');
    const { credentials, failures } = await result;
    expect(credentials.size).toBe(1);
    expect(failures.map(({ placeholder }) => placeholder.provider)).toEqual(['linear']);
  });

  it('ends with 130 on Ctrl-C at the question', async () => {
    const { context, result } = start('A={{kontext:linear}}', { tty: true });
    await expect.poll(() => context.stderr()).toContain('s: go on without it');
    context.abort();
    await expect(result).rejects.toMatchObject({ name: 'Interrupted' });
  });
});

describe('the environment of the child', () => {
  const build = (text: string, inherited: Record<string, string>, socketPath?: string) => {
    const template = parseEnvTemplate(Buffer.from(text));
    const input = { inherited, template, credentials: new Map(), sessionId: 'ses_1' };
    return buildChildEnv(socketPath === undefined ? input : { ...input, socketPath }).env;
  };

  it('clears our own variables and sets the marks of this session', () => {
    const inherited = { KONTEXT_TOKEN: 't', KONTEXT_SESSION_ID: 'old', KONTEXT_SOCKET: '/old', PATH: '/bin' };
    expect(build('', inherited)).toEqual({ PATH: '/bin', KONTEXT_SESSION_ID: 'ses_1' });
    expect(build('', inherited, '/s')).toMatchObject({ KONTEXT_SOCKET: '/s' });
  });

  it('leaves out a variable whose line is malformed, also when the shell has one', () => {
    expect(build('A={{kontext:}}\nB=b', { A: 'shell' })).toEqual({ B: 'b', KONTEXT_SESSION_ID: 'ses_1' });
  });

  it('does not touch what a refused line tried to set', () => {
    expect(build('PATH=/evil', { PATH: '/bin' })).toMatchObject({ PATH: '/bin' });
  });
});
