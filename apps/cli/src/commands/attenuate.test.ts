import { parseEnvTemplate } from '@kontext/env-template';
import { Secret } from '@kontext/redaction';
import { describe, expect, it } from 'vitest';
import type { HookRequest } from '../hooks/frames.ts';
import { type AttenuateRequest, createCredentialServer } from '../hooks/serve-credentials.ts';
import { createHeldCredentials } from '../session/held-credentials.ts';
import { narrowEnv, parseScopes } from './attenuate.ts';

describe('parseScopes', () => {
  it('keeps the colons of a scope, and gathers the scopes of one credential', () => {
    const texts = ['github:repo:status', 'aws/prod:s3:GetObject', 'github:contents:read'];

    expect(parseScopes(texts)).toEqual([
      { provider: 'github', resource: '', scopes: ['repo:status', 'contents:read'] },
      { provider: 'aws', resource: 'prod', scopes: ['s3:GetObject'] },
    ]);
  });

  it('takes a credential without scope as all of it, whatever else is said', () => {
    expect(parseScopes(['acme:read', 'acme'])).toEqual([{ provider: 'acme', resource: '', scopes: [] }]);
  });

  it.each(['', ':read', 'GitHub:read', '-x'])('refuses %j', (text) => {
    expect(() => parseScopes([text])).toThrow(expect.objectContaining({ code: 'KX_USAGE' }));
  });
});

describe('narrowEnv', () => {
  const held = [{ mentions: ['GITHUB_TOKEN', 'API_URL'] }, { mentions: ['STRIPE_KEY'] }];
  const narrowed = [{ place: 'github', names: ['GITHUB_TOKEN'], value: 'narrow', leaseId: 'lea_2' }];

  it('removes every variable of the session, and sets again what was narrowed', () => {
    const inherited = {
      ...{ GITHUB_TOKEN: 'wide', API_URL: 'https://wide@api.test', STRIPE_KEY: 'sk', HOME: '/h' },
      ...{ GH_TOKEN: 'another name of it', KONTEXT_SOCKET: '/s' },
    };

    expect(narrowEnv(inherited, held, narrowed)).toEqual({
      ...{ HOME: '/h', KONTEXT_SOCKET: '/s', GITHUB_TOKEN: 'narrow' },
      KONTEXT_ATTENUATED: '{"github":"lea_2"}',
    });
  });
});

describe('the session, asked to narrow', () => {
  const template = parseEnvTemplate(Buffer.from('A={{kontext:acme}}\nB=x{{kontext:acme}}\n'));
  const [entry] = template.entries;
  const [placeholder] = (entry?.parts ?? []).filter((part) => typeof part !== 'string');
  if (placeholder === undefined) throw new Error('the template has no placeholder');
  const asked: AttenuateRequest[] = [];
  const held = createHeldCredentials();
  held.put(placeholder, {
    ...{ value: new Secret('wide'), kind: 'minted', leaseId: 'lea_1', scopes: ['read', 'write'] },
    ...{ expiresInSeconds: null, git: null },
  } as never);
  const server = createCredentialServer({
    ...{ held, sink: { intend: () => null } },
    renewals: { renewNow: async () => true, trouble: () => null },
    namesOf: () => ['A'],
    mentionsOf: () => ['A', 'B'],
    attenuate: async (request) => {
      asked.push(request);
      const leaseId = `${request.leaseId}.${asked.length}`;
      return { kind: 'minted', leaseId, scopes: request.scopes, expiresIn: 60, value: 'narrow' };
    },
  });
  const ask = async (question: object) => {
    const head = Buffer.from(JSON.stringify({ v: 1, ...question }));
    const frame = { kind: 'credential', agent: 'kontext', event: 'attenuate', trueLength: head.length };
    const reply = await server({ ...frame, head, tail: new Uint8Array() } as unknown as HookRequest);
    return JSON.parse(Buffer.from(reply.stdout).toString('utf8')) as Record<string, Record<string, unknown>>;
  };

  it('narrows its own credential, and then what it has narrowed, and nothing else', async () => {
    const first = await ask({ provider: 'acme', scopes: ['read'] });
    const leaseId = first.credential?.leaseId;
    const second = await ask({ provider: 'acme', scopes: ['read'], leaseId, ttlSeconds: 5 });
    const stranger = await ask({ provider: 'acme', scopes: ['read'], leaseId: 'lea_9' });

    expect(first.credential).toMatchObject({ value: 'narrow', names: ['A'] });
    expect(second.credential).toMatchObject({ leaseId: 'lea_1.1.2' });
    expect(asked).toEqual([
      { leaseId: 'lea_1', scopes: ['read'], ttlSeconds: 0 },
      { leaseId: 'lea_1.1', scopes: ['read'], ttlSeconds: 5 },
    ]);
    expect(stranger.error).toMatchObject({ code: 'KX_CREDENTIAL_NOT_IN_SESSION' });
  });
});
