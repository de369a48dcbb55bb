import { generateKeyPairSync } from 'node:crypto';
import { KontextError } from '@kontext/errors';
import { type StandIn, standInProfiles, startStandIn } from '@kontext/testkit';
import { eq } from 'drizzle-orm';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Caller } from '../caller.ts';
import type { TestOrganisation } from '../organisations/test-organisation.ts';
import { agentProviders, connections as connectionRows, leases, secrets } from '../store/schema.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { parseProvider } from './parse-provider.ts';
import type { ProviderInput } from './provider-input.ts';
import { openTestRoom, type TestRoom } from './test-room.ts';

const empty: ProviderInput = {
  ...{ name: '', kind: null, authorizationEndpoint: '', tokenEndpoint: '', revocationEndpoint: '' },
  ...{ clientId: '', scopes: [], clientAuth: null, clientSecret: '' },
};
const client = { clientId: 'id', clientSecret: 'very-secret-client' };

describe.each(testStores())('adding providers on $kind', ({ open }) => {
  let opened: TestStore;
  let room: TestRoom;
  let org: TestOrganisation;
  let owner: Caller;
  let standIn: StandIn | null = null;
  beforeAll(async () => {
    opened = await open();
    room = await openTestRoom(opened);
  });
  beforeEach(async () => {
    org = await room.organisation();
    owner = org.owner;
  });
  afterEach(async () => {
    await room.fault('none');
    await standIn?.close();
    standIn = null;
  });
  afterAll(async () => {
    await room?.close();
    await opened?.close();
  });

  const add = (change: Partial<ProviderInput>) =>
    room.connections.addProvider(owner, { ...empty, ...change });
  const refusal = (change: Partial<ProviderInput>) =>
    expect(add(change)).rejects.toMatchObject({ code: 'KX_PROVIDER_INVALID' });

  describe('from the catalogue', () => {
    test('a client id and secret are enough; name, endpoints and scopes are lent', async () => {
      const row = await add({ catalogueId: 'github', ...client });
      expect(row).toMatchObject({
        ...{ name: 'github', kind: 'oauth2', catalogueId: 'github', clientAuth: 'client_secret_post' },
        ...{ tokenEndpoint: 'https://github.com/login/oauth/access_token', scopes: ['repo', 'read:org'] },
        agents: [
          { agent: 'claude', scopes: null },
          { agent: 'run', scopes: null },
        ],
      });
      expect(room.connections.callbackUrl(row)).toMatch(
        /^http:\/\/127\.0\.0\.1:4180\/connect\/callback\/[\w-]{24}$/,
      );
    });

    test('what is given replaces what is lent, and a base moves every address', async () => {
      const settingsJson = '{"base":"https://git.example/x","refreshBeforeSeconds":60}';
      const row = await add({
        catalogueId: 'gitlab',
        name: 'work',
        scopes: ['read_user'],
        settingsJson,
        ...client,
      });
      expect(row).toMatchObject({
        ...{ name: 'work', tokenEndpoint: 'https://git.example/x/oauth/token', scopes: ['read_user'] },
        revocationEndpoint: 'https://git.example/x/oauth/revoke',
      });
      expect(JSON.parse(row.settings)).toEqual(JSON.parse(settingsJson));
    });

    test('an endpoint elsewhere without a base is refused: other addresses would stay at the public service', async () => {
      await refusal({ catalogueId: 'github', tokenEndpoint: 'https://git.example/token', ...client });
    });

    test.each([
      ['no such entry', { catalogueId: 'nosuch', ...client }],
      ['another kind', { catalogueId: 'github', kind: 'static' as const, ...client }],
      ['no client id', { catalogueId: 'github', clientSecret: 's' }],
      ['no client secret', { catalogueId: 'github', clientId: 'id' }],
      ['a secret for a static key', { catalogueId: 'stripe', clientSecret: 's' }],
      ['an endpoint for a static key', { catalogueId: 'stripe', tokenEndpoint: 'https://p.example/t' }],
      ['a client for a minted kind', { catalogueId: 'aws', clientId: 'id' }],
      ['settings of another kind', { catalogueId: 'github', settingsJson: '{"databases":{}}', ...client }],
      ['settings that are no JSON', { catalogueId: 'github', settingsJson: '{', ...client }],
      ['settings that are a list', { catalogueId: 'github', settingsJson: '[]', ...client }],
      ['settings too long', { catalogueId: 'github', settingsJson: ' '.repeat(131_073), ...client }],
      [
        'a base by plain http',
        { catalogueId: 'gitlab', settingsJson: '{"base":"http://git.example"}', ...client },
      ],
      [
        'a parameter that is ours',
        { catalogueId: 'github', settingsJson: '{"authorizeParameters":{"state":"x"}}', ...client },
      ],
      ['a login age below zero', { catalogueId: 'stripe', maxLoginAgeSeconds: -1 }],
      ['a login age of years', { catalogueId: 'stripe', maxLoginAgeSeconds: 2 ** 31 - 1 }],
      ['a lease too short', { catalogueId: 'stripe', leaseTtlSeconds: 59 }],
      ['a lease too long', { catalogueId: 'stripe', leaseTtlSeconds: 86_401 }],
      [
        'a key that is none',
        { catalogueId: 'github', clientAuth: 'private_key_jwt' as const, clientId: 'id', clientSecret: 'x' },
      ],
    ])('refuses %s, and stores nothing', async (_, change) => {
      await refusal(change);
      expect(await room.connections.listProviders(owner)).toEqual([]);
      const left = await room.store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
        tx.select().from(secrets).where(eq(secrets.purpose, 'client-secret')),
      );
      expect(left).toEqual([]);
    });

    test('bounds are stored and listed', async () => {
      await add({
        catalogueId: 'stripe',
        maxLoginAgeSeconds: 3600,
        needsApproval: true,
        leaseTtlSeconds: 900,
      });
      expect(await room.connections.listProviders(owner)).toMatchObject([
        { name: 'stripe', maxLoginAgeSeconds: 3600, approval: 'user', leaseTtlSeconds: 900 },
      ]);
    });

    test('a private key is sealed and proves the client', async () => {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const clientSecret = String(privateKey.export({ type: 'pkcs8', format: 'pem' }));
      const row = await add({
        catalogueId: 'github',
        clientAuth: 'private_key_jwt',
        clientId: 'id',
        clientSecret,
      });
      expect(row.clientSecretId).not.toBeNull();
    });

    test('a minted kind gets its connection at once, connected and of the organisation', async () => {
      const settingsJson = JSON.stringify({ databases: { prod: { database: 'app', role: 'readers' } } });
      await add({ catalogueId: 'postgres', clientSecret: 'postgres://u:p@db.example/app', settingsJson });
      const [row, ...more] = await room.store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
        tx.select().from(connectionRows),
      );
      expect(more).toEqual([]);
      expect(row).toMatchObject({ state: 'connected', userId: null, name: 'default' });
    });

    test('one made from an entry is connected, refreshed, tried and revoked with its habits', async () => {
      standIn = await startStandIn(standInProfiles.slack);
      const { url, clientId, clientSecret } = standIn;
      const settingsJson = JSON.stringify({ base: url });
      await add({ catalogueId: 'slack', clientId, clientSecret, settingsJson });
      const id = await room.connect(owner, { provider: 'slack' });
      const { connection } = await room.connections.get(owner, id);
      expect(connection).toMatchObject({
        state: 'connected',
        account: 'T1/U1',
        scopes: ['chat:write', 'channels:read'],
      });
      const first = await room.connections.tokens.get(owner.orgId, id);
      const later = room.replica({ nowMs: () => room.nowMs() + 13 * 3_600_000 });
      const second = await later.connections.tokens.get(owner.orgId, id);
      expect(second.accessToken).not.toBe(first.accessToken);
      expect(standIn.refreshTokens()).toEqual([second.refreshToken]);
      expect(await later.connections.revoke(owner, id)).toMatchObject({ revokedAtProvider: true });
      expect(standIn.isLive(second.accessToken)).toBe(false);
    });
  });

  describe('from an issuer', () => {
    test('endpoints are read from its metadata, and the account from its userinfo', async () => {
      const { clientId, clientSecret, url, tokenEndpoint } = room.upstream;
      const row = await add({
        name: 'acme',
        kind: 'oauth2',
        issuer: url,
        clientId,
        clientSecret,
        scopes: ['openid'],
      });
      expect(row).toMatchObject({ issuer: url, tokenEndpoint, clientAuth: 'client_secret_basic' });
      expect(JSON.parse(row.settings)).toEqual({ whoAmI: { url: `${url}/me`, account: 'sub' } });
      await room.upstream.setRedirectUris([room.connections.callbackUrl(row)]);
      expect(await room.connect(owner)).toMatch(/^con_/);
    });

    test.each([
      ['another issuer', { issuer: 'https://other.example' }],
      ['endpoints by plain http elsewhere', { authorization_endpoint: 'http://p.example/a' }],
      ['no token endpoint', { token_endpoint: '' }],
      ['endpoints that are no text', { token_endpoint: { a: 1 } }],
      ['only methods nobody knows', { token_endpoint_auth_methods_supported: ['tls_client_auth'] }],
    ])('refuses metadata with %s', async (_, change) => {
      standIn = await startStandIn(standInProfiles.gitlab);
      const { url: issuer } = standIn;
      const endpoints = { authorization_endpoint: `${issuer}/a`, token_endpoint: `${issuer}/t` };
      standIn.answerNext({ status: 200, body: { issuer, ...endpoints, ...change } });
      await refusal({ name: 'acme', kind: 'oauth2', issuer, ...client });
    });

    test('reads RFC 8414 metadata where there is no OpenID configuration, and refuses where there is neither', async () => {
      standIn = await startStandIn(standInProfiles.gitlab);
      const issuer = `${standIn.url}/tenant`;
      const body = { issuer, authorization_endpoint: `${issuer}/a`, token_endpoint: `${issuer}/t` };
      standIn.answerNext({ status: 404, body: {} });
      standIn.answerNext({ status: 200, body });
      await add({ name: 'acme', kind: 'oauth2', issuer, ...client });
      expect(standIn.requests).toEqual([
        'GET /tenant/.well-known/openid-configuration',
        'GET /.well-known/oauth-authorization-server/tenant',
      ]);
      await refusal({ name: 'other', kind: 'oauth2', issuer, ...client });
    });

    test('one that does not answer is unreachable, one with a query is refused unasked', async () => {
      standIn = await startStandIn(standInProfiles.gitlab);
      standIn.answerNext({ status: 503, body: {} });
      const down = add({ name: 'acme', kind: 'oauth2', issuer: standIn.url, ...client });
      await expect(down).rejects.toMatchObject({ code: 'KX_PROVIDER_UNREACHABLE' });
      await refusal({ name: 'acme', kind: 'oauth2', issuer: `${standIn.url}?x=1`, ...client });
      expect(standIn.requests).toHaveLength(1);
    });
  });

  describe('agents', () => {
    const attachedTo = async () => (await room.connections.listProviders(owner))[0]?.agents;

    test('outside local mode nobody may use a new provider unless asked for', async () => {
      const { connections } = room.replica({ local: false });
      const alone = await connections.addProvider(owner, { ...empty, catalogueId: 'stripe' });
      expect(alone.agents).toEqual([]);
      const agents = [{ agent: 'run', scopes: ['read'] }];
      const asked = await connections.addProvider(owner, { ...empty, catalogueId: 'npm', agents });
      expect(asked.agents).toEqual([{ agent: 'run', scopes: ['read'] }]);
    });

    test('attaching sets the ceiling, attaching again replaces it', async () => {
      await add({ catalogueId: 'stripe', agents: [{ agent: 'run', scopes: [] }] });
      await room.connections.attachProvider(owner, 'stripe', { agent: 'run', scopes: ['b', 'a'] });
      expect(await attachedTo()).toEqual([{ agent: 'run', scopes: ['b', 'a'] }]);
      await room.connections.attachProvider(owner, 'stripe', { agent: 'run', scopes: [] });
      await room.connections.attachProvider(owner, 'stripe', { agent: 'claude', scopes: [] });
      expect(await attachedTo()).toEqual([
        { agent: 'claude', scopes: null },
        { agent: 'run', scopes: null },
      ]);
    });

    test('detaching ends what the agent holds of it, and only that', async () => {
      await room.connections.putSecret(owner, { provider: 'stripe', name: '', value: 'key', shared: false });
      await room.connections.putSecret(owner, { provider: 'npm', name: '', value: 'key', shared: false });
      const sessionId = await room.openSession(owner);
      await resolve(sessionId, ['stripe', 'npm']);
      expect(await room.connections.detachProvider(owner, 'stripe', 'claude')).toBe(1);
      const rows = await room.store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
        tx.select().from(leases),
      );
      const states = Object.fromEntries(rows.map(({ provider, state }) => [provider, state]));
      expect(states).toEqual({ stripe: 'ended', npm: 'active' });
      const again = room.connections.detachProvider(owner, 'stripe', 'claude');
      await expect(again).rejects.toMatchObject({ code: 'KX_PROVIDER_NOT_ATTACHED' });
    });

    test.each(['nosuch', '', 'A', 'x'.repeat(64), 'a\0b'])('the agent %j is unknown', async (agent) => {
      const added = add({ catalogueId: 'stripe', agents: [{ agent, scopes: [] }] });
      await expect(added).rejects.toMatchObject({ code: 'KX_AGENT_UNKNOWN' });
      expect(await room.connections.listProviders(owner)).toEqual([]);
      await add({ catalogueId: 'stripe' });
      const attached = room.connections.attachProvider(owner, 'stripe', { agent, scopes: [] });
      await expect(attached).rejects.toMatchObject({ code: 'KX_AGENT_UNKNOWN' });
      const detached = room.connections.detachProvider(owner, 'stripe', agent);
      await expect(detached).rejects.toMatchObject({ code: 'KX_PROVIDER_NOT_ATTACHED' });
    });

    test('an unknown provider, and who is no administrator, are refused', async () => {
      const input = { agent: 'run', scopes: [] };
      const { connections } = room;
      await expect(connections.attachProvider(owner, 'nosuch', input)).rejects.toMatchObject({
        code: 'KX_PROVIDER_UNKNOWN',
      });
      await expect(connections.detachProvider(owner, 'No such', 'run')).rejects.toMatchObject({
        code: 'KX_PROVIDER_UNKNOWN',
      });
      await add({ catalogueId: 'stripe' });
      const member = await org.addUser('member');
      await expect(connections.attachProvider(member, 'stripe', input)).rejects.toMatchObject({
        code: 'KX_FORBIDDEN',
      });
      await expect(connections.detachProvider(member, 'stripe', 'run')).rejects.toMatchObject({
        code: 'KX_FORBIDDEN',
      });
    });

    test('two organisations attach apart', async () => {
      await add({ catalogueId: 'stripe', agents: [{ agent: 'run', scopes: [] }] });
      const { owner: stranger } = await room.organisation();
      const seen = room.connections.attachProvider(stranger, 'stripe', { agent: 'run', scopes: [] });
      await expect(seen).rejects.toMatchObject({ code: 'KX_PROVIDER_UNKNOWN' });
      const rows = await room.store.transaction({ role: 'app', orgId: stranger.orgId }, (tx) =>
        tx.select().from(agentProviders),
      );
      expect(rows).toEqual([]);
    });
  });

  const resolve = (sessionId: string, providers: readonly string[]) =>
    room.credentials.resolve(owner, {
      sessionId,
      dryRun: false,
      wanted: providers.map((provider) => ({
        provider,
        resource: '',
        scopes: [],
        delivery: 'inject' as const,
      })),
    });

  describe('removing', () => {
    test('by force tells the provider to end every connection', async () => {
      await room.addUpstream(owner);
      await room.connect(owner);
      await room.connect(owner, { name: 'second' });
      const before = (await room.upstream.stats()).revocations;
      expect(await room.connections.removeProvider(owner, 'acme', true)).toEqual({
        revokedAtProvider: 2,
        message: '',
      });
      expect((await room.upstream.stats()).revocations - before).toBe(2);
    });

    test('by force says what it could not end there', async () => {
      await room.connections.putSecret(owner, { provider: 'stripe', name: '', value: 'key', shared: false });
      const { revokedAtProvider, message } = await room.connections.removeProvider(owner, 'stripe', true);
      expect(revokedAtProvider).toBe(0);
      expect(message).toContain('a static key cannot be revoked from here');
    });

    test('in the middle of resolving and connecting is no internal error, whoever comes first', async () => {
      const sessionId = await room.openSession(owner);
      for (let round = 0; round < 5; round += 1) {
        await room.connections.putSecret(owner, {
          provider: 'stripe',
          name: '',
          value: 'key',
          shared: false,
        });
        await room.addUpstream(owner);
        await room.connect(owner);
        const begin = () =>
          room.connections.begin(owner, { provider: 'acme', name: `n${round}`, scopes: [] });
        const work = [
          resolve(sessionId, ['stripe', 'acme']),
          ...['stripe', 'acme'].map((name) => room.connections.removeProvider(owner, name, true)),
          ...[resolve(sessionId, ['stripe', 'acme']), begin(), begin()],
          room.connections.putSecret(owner, { provider: 'stripe', name: 'b', value: 'key', shared: false }),
        ];
        for (const done of await Promise.allSettled(work)) {
          if (done.status === 'rejected') expect(codeOf(done.reason)).not.toBe('KX_INTERNAL');
          else expect(JSON.stringify(done.value)).not.toContain('KX_INTERNAL');
        }
        for (const { name } of await room.connections.listProviders(owner)) {
          await room.connections.removeProvider(owner, name, true);
        }
      }
    });
  });
});

const codeOf = (error: unknown): string => (error instanceof KontextError ? error.code : 'KX_INTERNAL');

describe('what an administrator says about a provider', () => {
  const url = fc.oneof(
    fc.string(),
    fc.webUrl(),
    fc.constantFrom('', 'https://p.example/x', 'http://127.0.0.1:1/'),
  );
  const input = fc.record<ProviderInput>({
    name: fc.oneof(fc.string(), fc.constantFrom('', 'acme')),
    kind: fc.constantFrom(null, 'oauth2', 'static', 'github_app', 'aws_sts', 'postgres', 'token_exchange'),
    authorizationEndpoint: url,
    tokenEndpoint: url,
    revocationEndpoint: url,
    clientId: fc.oneof(fc.string(), fc.constantFrom('', 'id')),
    scopes: fc.array(fc.oneof(fc.string(), fc.constantFrom('a', 'b c'))),
    clientAuth: fc.constantFrom(null, 'client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'),
    clientSecret: fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('', 'secret')),
    catalogueId: fc.oneof(
      fc.string(),
      fc.constantFrom('', 'github', 'gitlab', 'slack', 'stripe', 'aws', 'toString'),
    ),
    issuer: url,
    settingsJson: fc.oneof(
      fc.string(),
      fc.json(),
      fc.constantFrom(
        '',
        '{"__proto__":{"base":"x"}}',
        '{"base":"https://g.example"}',
        '{"whoAmI":{"url":"x"}}',
      ),
      fc.constant('['.repeat(8000)),
    ),
    maxLoginAgeSeconds: fc.oneof(fc.double(), fc.integer({ min: -1, max: 90_000 })),
    needsApproval: fc.boolean(),
    leaseTtlSeconds: fc.oneof(fc.double(), fc.constantFrom(0, 60, 900)),
  });
  const known = new Set(['KX_PROVIDER_INVALID', 'KX_REQUEST_INVALID']);
  const discover = () =>
    Promise.resolve({
      ...{ authorizationEndpoint: 'https://i.example/a', tokenEndpoint: 'https://i.example/t' },
      ...{ revocationEndpoint: '', userinfoEndpoint: '', clientAuths: [] },
    });

  test('either can be stored and read again, or is refused with a reason; never anything else', async () => {
    await fc.assert(
      fc.asyncProperty(input, fc.boolean(), async (given, local) => {
        try {
          const parsed = await parseProvider(given, { local, discover });
          expect(parsed.name).toMatch(/^[a-z0-9][a-z0-9-]{0,62}$/);
          expect(JSON.parse(parsed.settings)).toBeTypeOf('object');
          expect(Number.isInteger(parsed.leaseTtlSeconds)).toBe(true);
          for (const endpoint of [
            parsed.authorizationEndpoint,
            parsed.tokenEndpoint,
            parsed.revocationEndpoint,
          ]) {
            if (endpoint !== '' && !local) expect(new URL(endpoint).protocol).toBe('https:');
          }
          expect(JSON.stringify(parsed)).not.toContain('\\u0000');
        } catch (error) {
          if (!(error instanceof KontextError)) throw error;
          expect(known).toContain(error.code);
          expect(error.why).toMatch(/^[\x20-\x7e§]+$/);
        }
      }),
      { numRuns: 1500 },
    );
  });
});
