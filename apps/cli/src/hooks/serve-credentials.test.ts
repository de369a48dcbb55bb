import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listPlaceholders, parseEnvTemplate } from '@kontext/env-template';
import { KontextError } from '@kontext/errors';
import { Secret } from '@kontext/redaction';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { formatCredentials } from '../commands/credential.ts';
import { parseDescription } from '../commands/git-credential.ts';
import { createHeldCredentials, type HeldCredentials } from '../session/held-credentials.ts';
import type { ResolvedCredential } from '../session/resolve-placeholders.ts';
import { askCredentials, askSession } from './ask-session.ts';
import { createHookServer, type HookServer } from './hook-server.ts';
import { createCredentialServer } from './serve-credentials.ts';
import { textReply } from './text-reply.ts';

const template = parseEnvTemplate(
  Buffer.from(
    [
      'GITHUB_TOKEN={{kontext:github}}',
      'GH={{kontext:github}}',
      'URL=https://x:{{kontext:github}}@host',
      'ID={{kontext:aws/prod/access-key-id}}',
      'KEY={{kontext:aws/prod/secret-access-key}}',
      'SESSION={{kontext:aws/prod/session-token}}',
      'OLD={{kontext:stripe/old}}',
      'NEW={{kontext:stripe/new}}',
    ].join('\n'),
  ),
);

describe('credentials over the socket', () => {
  let runtimeDir: string;
  let server: HookServer;
  let held: HeldCredentials;
  let noted: string[];
  let nowMs: number;
  let alive: boolean;
  let narrowing: unknown[];
  beforeEach(async () => {
    runtimeDir = mkdtempSync(join(tmpdir(), 'kontext-serve-'));
    held = createHeldCredentials();
    [noted, nowMs, alive, narrowing] = [[], 0, true, []];
    for (const placeholder of listPlaceholders(template.entries)) {
      const { provider, resource } = placeholder;
      const credential: ResolvedCredential = {
        ...{
          value: new Secret(`value of ${provider}/${resource}`),
          kind: 'oauth',
          leaseId: `lea_${provider}`,
        },
        ...{ connectionId: '', connectionName: '', scopes: ['repo'], expiresAt: null, expiresInSeconds: 60 },
        git: provider === 'github' ? { hosts: ['github.com'], user: 'x-access-token' } : null,
      };
      held.put(placeholder, credential);
    }
    const handleCredential = createCredentialServer({
      ...{ held, nowMs: () => nowMs },
      namesOf: (key) => (key === held.list()[0]?.placeholder.key ? ['GITHUB_TOKEN', 'GH'] : []),
      mentionsOf: () => ['URL'],
      renewals: {
        renewNow: async () => alive,
        trouble: () => (alive ? null : new KontextError('KX_RENEWAL_WITHHELD', 'no', { why: 'tampered' })),
      },
      sink: {
        intend: ({ kind }) => {
          return (payload) => void noted.push(`${kind} ${String(payload)}`);
        },
      },
      attenuate: async (request) => {
        narrowing.push(request);
        return {
          kind: 'oauth',
          leaseId: 'lea_narrow',
          scopes: request.scopes,
          expiresIn: 5,
          value: 'narrow',
        };
      },
    });
    server = await createHookServer({
      ...{ runtimeDir, handleCredential, onFailure: () => textReply(1, '', 'failed') },
      handleHook: async () => textReply(0, '', ''),
    });
  });
  afterEach(async () => {
    await server.close();
    rmSync(runtimeDir, { recursive: true });
  });

  const get = (provider: string, resource = '') =>
    askCredentials(server.socketPath, { op: 'get', provider, resource });
  const git = (host: string) => askCredentials(server.socketPath, { op: 'git', host });

  test('gives the newest value of a placeholder, and records the lease without the value', async () => {
    const [one, ...more] = await get('github');
    expect(more).toEqual([]);
    expect(one).toMatchObject({
      ...{ provider: 'github', value: 'value of github/', leaseId: 'lea_github', gitUser: 'x-access-token' },
      ...{ names: ['GITHUB_TOKEN', 'GH'], scopes: ['repo'], kind: 'oauth' },
    });
    expect(one?.expiresIn).toBeGreaterThan(50);
    expect(noted).toHaveLength(1);
    expect(noted[0]).toContain('lea_github');
    expect(noted[0]).not.toContain('value of');
  });

  test('gives all values of one resource; several resources must be told apart', async () => {
    expect(await get('aws')).toHaveLength(3);
    expect(await get('aws', 'prod')).toHaveLength(3);
    expect(await get('aws', 'prod/access-key-id')).toHaveLength(1);
    expect(await get('stripe', 'new')).toMatchObject([{ value: 'value of stripe/new' }]);
    await expect(get('stripe')).rejects.toMatchObject({ code: 'KX_CONNECTION_AMBIGUOUS' });
  });

  test.each([
    ['npm', ''],
    ['github', 'other'],
    ['aws', 'pro'],
    ['', ''],
    ['stripe', 'new/field'],
  ])('serves nothing but its own placeholders: not %s/%s', async (provider, resource) => {
    await expect(get(provider, resource)).rejects.toMatchObject({ code: 'KX_CREDENTIAL_NOT_IN_SESSION' });
    expect(noted).toEqual([]);
  });

  test('git gets a credential for the hosts of its provider, to the letter', async () => {
    expect(await git('github.com')).toMatchObject([{ provider: 'github' }]);
    expect(await git('GitHub.com')).toHaveLength(1);
    for (const host of ['evil.example', 'github.com.evil.example', 'github.com:8443', 'api.github.com', '']) {
      await expect(git(host)).rejects.toMatchObject({ code: 'KX_CREDENTIAL_NOT_IN_SESSION' });
    }
  });

  test('a list shows what there is, without values, and is no hand-out', async () => {
    const listed = await askCredentials(server.socketPath, { op: 'list' });
    expect(listed.map(({ provider, value }) => [provider, value])).toEqual(
      ['github', 'aws', 'aws', 'aws', 'stripe', 'stripe'].map((provider) => [provider, '']),
    );
    expect(noted).toEqual([]);
  });

  test('what is over and was not renewed is not given, with the reason', async () => {
    alive = false;
    await expect(get('github')).rejects.toMatchObject({
      ...{ code: 'KX_RENEWAL_WITHHELD', why: expect.stringContaining('tampered') },
    });
  });

  test('narrows a credential through the backend', async () => {
    const asked = { provider: 'github', resource: '', scopes: ['repo'], ttlSeconds: 60 };
    const { credential } = await askSession(server.socketPath, 'attenuate', asked);
    expect(credential).toMatchObject({ value: 'narrow', leaseId: 'lea_narrow', scopes: ['repo'] });
    expect(narrowing).toEqual([{ leaseId: 'lea_github', scopes: ['repo'], ttlSeconds: 60 }]);
  });

  test.each([
    ['an unknown op', { op: 'everything' }],
    ['a foreign version', { v: 2, op: 'list' }],
    ['a provider that is no text', { op: 'get', provider: 1 }],
    ['too much', { op: 'get', provider: 'x'.repeat(70_000) }],
  ])('refuses %s', async (_what, question) => {
    await expect(askSession(server.socketPath, 'credential', question)).rejects.toMatchObject({
      code: 'KX_REQUEST_INVALID',
    });
  });

  test.each([{ scopes: 'repo' }, { scopes: [1] }, { scopes: [], ttlSeconds: 1.5 }])(
    'refuses to narrow with %j',
    async (question) => {
      const asked = askSession(server.socketPath, 'attenuate', { provider: 'github', ...question });
      await expect(asked).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
    },
  );

  test('too many requests are turned away until time has passed', async () => {
    for (let i = 0; i < 30; i += 1) await get('github');
    await expect(get('github')).rejects.toMatchObject({ code: 'KX_RATE_LIMITED' });
    nowMs += 1_000;
    expect(await get('github')).toHaveLength(1);
  });

  test('without a session, or after its end, the reason says so', async () => {
    await expect(askCredentials(null, { op: 'list' })).rejects.toMatchObject({ code: 'KX_NO_SESSION' });
    const { socketPath } = server;
    await server.close();
    await expect(askCredentials(socketPath, { op: 'list' })).rejects.toMatchObject({ code: 'KX_NO_SESSION' });
  });

  test('formats are those that programs expect', async () => {
    const [github, aws] = [await get('github'), await get('aws')];
    expect(formatCredentials(github, 'plain')).toBe('value of github/');
    expect(formatCredentials(github, 'env')).toBe("GITHUB_TOKEN='value of github/'\nGH='value of github/'");
    const quoted = github.map((one) => ({ ...one, names: ['A'], value: "it's; $x" }));
    expect(formatCredentials(quoted, 'env')).toBe("A='it'\\''s; $x'");
    expect(JSON.parse(formatCredentials(github, 'json'))).toMatchObject([
      { provider: 'github', value: 'value of github/', expiresAt: expect.stringMatching(/Z$/) },
    ]);
    expect(JSON.parse(formatCredentials(aws, 'aws'))).toEqual({
      Version: 1,
      AccessKeyId: 'value of aws/prod/access-key-id',
      SecretAccessKey: 'value of aws/prod/secret-access-key',
      SessionToken: 'value of aws/prod/session-token',
      Expiration: expect.stringMatching(/^\d{4}-.*Z$/),
    });
    for (const [given, format] of [
      ...[[aws, 'plain'] as const, [aws, 'env'] as const, [github, 'aws'] as const],
    ]) {
      expect(() => formatCredentials(given, format)).toThrow(KontextError);
    }
  });
});

test("git's attributes are read line by line up to an empty one; the last of a name counts", () => {
  const text = 'protocol=http\nprotocol=https\nhost=a=b\nnonsense\n=x\n\nhost=late\n';
  expect(Object.fromEntries(parseDescription(text))).toEqual({ protocol: 'https', host: 'a=b' });
});
