import { generateKeyPairSync } from 'node:crypto';
import {
  type AwsStsStandIn,
  type GithubAppStandIn,
  startAwsSts,
  startGithubApp,
  startTokenExchangeServer,
  type TokenExchangeServer,
} from '@kontext/testkit';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { makeConnection } from '../connections/make-connection.ts';
import { sealTokens } from '../connections/token-set.ts';
import { createSignAssertion } from '../login/sign-assertion.ts';
import {
  createTestOrganisation,
  type TestOrganisation,
  testKms,
} from '../organisations/test-organisation.ts';
import { insertConnection, replaceSecret } from '../store/queries/connections.ts';
import { leases, secrets } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import type { Outcome } from './outcome.ts';
import { createMintingBackend } from './test-mint-room.ts';

const ours = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const issuer = 'http://127.0.0.1:4180/oauth';
const signAssertion = createSignAssertion(issuer, {
  signing: [{ ...ours.privateKey.export({ format: 'jwk' }), kid: 'k1', alg: 'ES256', use: 'sig' }] as never,
});

describe.each(testStores())('credentials minted elsewhere, with a $kind store', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  let github: GithubAppStandIn;
  let sts: AwsStsStandIn;
  let server: TokenExchangeServer;
  let org: TestOrganisation;
  let sessionId: string;
  const nowMs = Date.now;
  const backend = () => createMintingBackend({ store, nowMs, signAssertion });

  beforeAll(async () => {
    const client = {
      client_id: 'kontext',
      client_secret: 's',
      token_endpoint_auth_method: 'client_secret_post',
    };
    [opened, github, sts, server] = await Promise.all([
      ...[open(nowMs), startGithubApp(), startAwsSts(), startTokenExchangeServer([client as never])],
    ] as const);
    store = opened.store;
    server.trust = { issuer, keys: [ours.publicKey.export({ format: 'jwk' })] };
  });
  afterAll(async () => {
    await Promise.all([github?.close(), sts?.close(), server?.close()]);
    await opened?.close();
  });
  beforeEach(async () => {
    org = await createTestOrganisation(store, new Date());
    const input = { agent: 'claude', agentVersion: '2.0', hostname: 'laptop', cliVersion: '0.1.0' };
    const opening = { ...input, mode: null, hookConfigHash: '' };
    sessionId = (await backend().sessions.open(org.owner, opening)).session.id;
    github.trouble = 'none';
  });

  type Kind = 'github_app' | 'aws_sts' | 'token_exchange' | 'oauth2';
  const add = (name: string, kind: Kind, clientSecret: string, settings: object, more: object = {}) =>
    backend().connections.addProvider(org.owner, {
      ...{ name, kind, authorizationEndpoint: '', tokenEndpoint: '', revocationEndpoint: '', clientId: '' },
      ...{ scopes: [], clientAuth: null, clientSecret, settingsJson: JSON.stringify(settings), ...more },
    });
  const resolve = async (
    provider: string,
    resources: readonly string[],
    scopes: readonly string[] = [],
  ): Promise<readonly Outcome[]> => {
    const wanted = resources.map((resource) => ({ provider, resource, scopes, delivery: 'inject' as const }));
    return (await backend().credentials.resolve(org.owner, { sessionId, wanted, dryRun: false })).outcomes;
  };
  const revealed = (outcome: Outcome | undefined): string => {
    if (!outcome?.ok) throw new Error(`refused: ${JSON.stringify(outcome)}`);
    return outcome.value.reveal();
  };
  const inOrg = <T>(work: Parameters<typeof store.transaction<T>>[1]): Promise<T> =>
    store.transaction({ role: 'app', orgId: org.orgId }, work);
  const readLeases = () =>
    inOrg((tx) => tx.select().from(leases).where(eq(leases.orgId, org.orgId)).orderBy(leases.id));
  const keptSecrets = async () =>
    (await inOrg((tx) => tx.select().from(secrets).where(eq(secrets.orgId, org.orgId)))).filter(
      ({ purpose }) => purpose === 'lease',
    );
  const endSession = async () => {
    await backend().sessions.end(org.owner, sessionId, { exitCode: 0, reason: '' });
    await backend().revocations.run();
  };
  const addGithub = () =>
    add('github-app', 'github_app', github.privateKey, {
      ...{ app: github.app, installation: github.installation, api: github.url },
      sets: { web: { repositories: ['web'], permissions: { contents: 'write' } } },
    });

  test('a GitHub token is kept sealed while it lives, and revoked with the session', async () => {
    await addGithub();
    const [outcome] = await resolve('github-app', ['web'], ['contents:read']);
    const token = revealed(outcome);
    expect(outcome).toMatchObject({ kind: 'minted', scopes: ['contents:read'], recall: 'upstream' });
    expect(github.tokens.get(token)?.permissions.contents).toBe('read');
    const [kept] = await keptSecrets();
    expect(kept?.ciphertext.includes(token)).toBe(false);

    await endSession();

    expect(github.tokens.has(token)).toBe(false);
    expect(await readLeases()).toMatchObject([{ state: 'ended', revocation: 'done', secretId: null }]);
    expect(await keptSecrets()).toEqual([]);
  });

  test('a ceiling that shares no scope with an entry leaves nothing, not all of it', async () => {
    await addGithub();
    const before = github.tokens.size;
    const bound = { agent: 'claude', scopes: ['issues:read'] };
    await backend().connections.attachProvider(org.owner, 'github-app', bound);

    expect(await resolve('github-app', ['web'])).toMatchObject([
      { ok: false, refusal: { code: 'KX_SCOPE_EXCEEDED', oauthError: 'invalid_scope' } },
    ]);
    expect(github.tokens.size).toBe(before);
  });

  test('a refusal is told as one, an outage as one, and neither leaves a token', async () => {
    await addGithub();
    const before = github.tokens.size;
    expect(await resolve('github-app', ['web'], ['contents:admin'])).toMatchObject([
      { ok: false, refusal: { code: 'KX_SCOPE_EXCEEDED', members: { scope: 'contents:admin' } } },
    ]);
    github.trouble = 'suspended';
    expect(await resolve('github-app', ['web'])).toMatchObject([
      { ok: false, refusal: { code: 'KX_MINT_REFUSED', oauthError: 'invalid_target' } },
    ]);
    github.trouble = 'rate limit';
    expect(await resolve('github-app', ['web'])).toMatchObject([
      {
        refusal: { code: 'KX_PROVIDER_UNREACHABLE', oauthError: 'temporarily_unavailable' },
        retryAfterSeconds: 60,
      },
    ]);
    expect(github.tokens.size).toBe(before);
  });

  test('the parts of AWS credentials are of one session of the role, which ends by itself', async () => {
    sts.webIdentityKeys = [ours.publicKey.export({ format: 'jwk' })];
    sts.webIdentityIssuer = issuer;
    const count = sts.sessions.length;
    const policies = { read: [{ Effect: 'Allow', Action: 's3:GetObject', Resource: '*' }] };
    const settings = {
      region: sts.region,
      endpoint: sts.url,
      roles: { prod: { arn: sts.roleArn, policies } },
    };
    await add('aws', 'aws_sts', '', settings);
    const fields = ['prod/access-key-id', 'prod/secret-access-key', 'prod/session-token', 'prod'];
    const outcomes = await resolve('aws', fields);
    const session = sts.sessions.at(-1);
    expect(sts.sessions).toHaveLength(count + 1);
    expect(session?.webIdentity).toBe(`${org.orgId}:${org.owner.userId}:${sessionId}`);
    expect(outcomes.slice(0, 3).map(revealed)).toEqual([
      ...[session?.accessKeyId, session?.secretAccessKey, session?.sessionToken],
    ]);
    expect(outcomes).toMatchObject(fields.map(() => ({ recall: 'expires', scopes: ['read'] })));

    await endSession();

    expect(new Set((await readLeases()).map(({ revocation }) => revocation))).toEqual(
      new Set(['impossible']),
    );
  });

  const exchangeSettings = (change: object = {}) => ({
    ...{ tokenEndpoint: server.tokenEndpoint, revocationEndpoint: server.revocationEndpoint },
    ...{ issuer: server.issuer, clientId: 'kontext', clientAuth: 'client_secret_post' },
    ...{ targets: { billing: { audience: ['billing'], scopes: ['read', 'write'] } }, ...change },
  });

  test('another server exchanges a JWT of ours, and its token is revoked with the session', async () => {
    await add('corp', 'token_exchange', 's', exchangeSettings());
    const [outcome] = await resolve('corp', [''], ['read']);
    const token = revealed(outcome);
    expect(server.exchanges.at(-1)).toMatchObject({
      subject: org.owner.userId,
      claims: { act: { sub: 'claude' }, sid: sessionId },
    });
    expect(outcome).toMatchObject({ recall: 'upstream' });
    await endSession();
    expect(await server.isLive(token)).toBe(false);
  });

  test("the user's own token elsewhere is the subject; without one, it has to be connected", async () => {
    await add('corp', 'token_exchange', 's', exchangeSettings({ subject: { connection: 'idp' } }));
    const provider = await add(
      'idp',
      'oauth2',
      's',
      {},
      {
        ...{
          authorizationEndpoint: `${server.issuer}/auth`,
          tokenEndpoint: server.tokenEndpoint,
          clientId: 'c',
        },
        clientAuth: 'client_secret_basic',
      },
    );
    expect(await resolve('corp', [''])).toMatchObject([{ refusal: { code: 'KX_CONNECTION_MISSING' } }]);
    expect(await readLeases()).toMatchObject([{ state: 'ended', revocation: 'none' }]);

    server.opaque.set('theirs', 'them');
    const now = new Date();
    const connection = makeConnection(provider, org.owner.userId, 'default', now);
    const next = { orgId: org.orgId, connectionId: connection.id, fromVersion: 0 };
    const issued = {
      ...{ accessToken: 'theirs', refreshToken: null, receivedAtMs: now.getTime(), expiresAtMs: null },
      ...{ scopes: null, account: null },
    };
    const { row } = await sealTokens(testKms, next, issued, null, now);
    await inOrg(async (tx) => {
      await insertConnection(tx, connection);
      await replaceSecret(tx, connection.id, 0, row, { state: 'connected', connectedAt: now });
    });
    revealed((await resolve('corp', ['']))[0]);
    expect(server.exchanges.at(-1)).toMatchObject({ subject: 'them', claims: null });
  });
});
