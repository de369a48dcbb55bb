import { generateKeyPairSync } from 'node:crypto';
import { Secret } from '@kontext/redaction';
import { startTokenExchangeServer, type TokenExchangeServer } from '@kontext/testkit';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createSignAssertion } from '../../login/sign-assertion.ts';
import { createSafeFetch } from '../safe-fetch.ts';
import type { Minted, MintRequest } from './minter.ts';
import { tokenExchangeSettings } from './settings.ts';
import { testMinterDeps, testMintRequest, testProvider } from './test-target.ts';
import { createTokenExchangeMinter } from './token-exchange-minter.ts';

const ours = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const client = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const issuer = 'http://127.0.0.1:4180/oauth';
const signing = [
  { ...ours.privateKey.export({ format: 'jwk' }), kid: 'k1', alg: 'ES256', use: 'sig' },
] as never;
const clientSecret = 's:e cret+%';

describe('tokens of another server that speaks RFC 8693', () => {
  let server: TokenExchangeServer;
  beforeAll(async () => {
    server = await startTokenExchangeServer([
      { client_id: 'basic', client_secret: clientSecret, token_endpoint_auth_method: 'client_secret_basic' },
      { client_id: 'post', client_secret: clientSecret, token_endpoint_auth_method: 'client_secret_post' },
      {
        ...{ client_id: 'jwt', token_endpoint_auth_method: 'private_key_jwt' },
        token_endpoint_auth_signing_alg: 'ES256',
        jwks: { keys: [{ ...client.publicKey.export({ format: 'jwk' }), kid: 'c1', alg: 'ES256' } as never] },
      },
      { client_id: 'none', token_endpoint_auth_method: 'none' },
    ]);
    server.trust = { issuer, keys: [ours.publicKey.export({ format: 'jwk' })] };
  });
  afterAll(() => server.close());
  beforeEach(() => {
    Object.assign(server, { answer: {}, failWith: 0 });
  });

  const minter = createTokenExchangeMinter(
    testMinterDeps({
      ...{ fetch: createSafeFetch({ allowLoopback: true }), issuer },
      signAssertion: createSignAssertion(issuer, { signing }),
    }),
  );
  const providerOf = (change: object = {}) =>
    testProvider(
      'token_exchange',
      tokenExchangeSettings.parse({
        ...{ tokenEndpoint: server.tokenEndpoint, revocationEndpoint: server.revocationEndpoint },
        ...{ issuer: server.issuer, clientId: 'basic', clientAuth: 'client_secret_basic' },
        targets: {
          billing: {
            audience: ['billing', 'ledger'],
            resource: ['https://api.test/'],
            scopes: ['read', 'write'],
          },
          open: {},
        },
        ...change,
      }),
    );
  const requestOf = (
    change: Parameters<typeof testMintRequest>[3] = {},
    secret: string | null = clientSecret,
  ): MintRequest =>
    testMintRequest(minter, change.provider ?? providerOf(), secret, { resource: 'billing', ...change });
  const tokenOf = ({ values }: Minted): string => values.get('')?.reveal() ?? '';

  test('a JWT of ours about the user, with the agent as actor, is exchanged for what the target names', async () => {
    const minted = await minter.mint(requestOf({ scopes: ['read'] }));
    const heard = server.exchanges.at(-1);
    expect(heard).toMatchObject({
      ...{ clientId: 'basic', subject: 'usr_1', scope: 'read', resource: ['https://api.test/'] },
      ...{ audience: ['billing', 'ledger'], subjectTokenType: 'urn:ietf:params:oauth:token-type:jwt' },
      claims: {
        iss: issuer,
        sub: 'usr_1',
        aud: server.issuer,
        org: 'org_1',
        act: { sub: 'claude' },
        sid: 'ses_1',
      },
    });
    expect(await server.isLive(tokenOf(minted))).toBe(true);
    expect(minted.scopes).toEqual(['read']);
    expect(Math.abs(Number(minted.expiresAt) - Date.now() - 600_000)).toBeLessThan(60_000);
  });

  test.each([
    ['post', 'client_secret_post', clientSecret, {}],
    ['none', 'none', null, {}],
    [
      'jwt',
      'private_key_jwt',
      String(client.privateKey.export({ type: 'pkcs8', format: 'pem' })),
      { keyId: 'c1' },
    ],
  ])('authenticates as %s', async (clientId, clientAuth, secret, more) => {
    const provider = providerOf({ clientId, clientAuth, ...more });
    const minted = await minter.mint(requestOf({ provider }, secret));
    expect(server.exchanges.at(-1)?.clientId).toBe(clientId);
    expect(await server.isLive(tokenOf(minted))).toBe(true);
  });

  test("the user's token of another connection can be the subject", async () => {
    server.opaque.set('token-of-the-user', 'them');
    const asked: string[] = [];
    const provider = providerOf({ subject: { connection: 'corp' } });
    const userToken = async (name: string) => {
      asked.push(name);
      return new Secret('token-of-the-user');
    };
    await minter.mint(requestOf({ provider, userToken }));
    expect(asked).toEqual(['corp']);
    expect(server.exchanges.at(-1)).toMatchObject({ subject: 'them', claims: null });
  });

  test('revoking ends the token there (RFC 7009); without an endpoint it cannot be', async () => {
    const request = requestOf();
    const minted = await minter.mint(request);
    const revoke = { ...request, kept: minted.keep, leaseId: 'lea_1', resource: 'billing' };
    expect(await minter.revoke(revoke)).toBe('revoked');
    expect(await server.isLive(tokenOf(minted))).toBe(false);
    expect(await minter.revoke({ ...revoke, kept: null })).toBe('gone');
    const provider = providerOf({ revocationEndpoint: undefined });
    expect(await minter.revoke({ ...revoke, provider })).toBe('impossible');
    expect((await minter.mint(requestOf({ provider }))).keep).toBeNull();
    server.failWith = 503;
    await expect(minter.revoke(revoke)).rejects.toMatchObject({ code: 'KX_PROVIDER_UNREACHABLE' });
  });

  test('a clear no carries their error name and nothing else', async () => {
    await expect(minter.mint(requestOf({}, 'wrong'))).rejects.toMatchObject({
      ...{ code: 'KX_MINT_REFUSED', details: { upstream_error: 'invalid_client' } },
    });
    await expect(minter.mint(requestOf({ resource: 'open', scopes: ['admin'] }))).rejects.toMatchObject({
      details: { upstream_error: 'invalid_scope' },
    });
    const elsewhere = providerOf({ issuer: 'https://other.test' });
    await expect(minter.mint(requestOf({ provider: elsewhere }))).rejects.toMatchObject({
      details: { upstream_error: 'invalid_request' },
    });
  });

  test.each<[string, Record<string, unknown>]>([
    ['without issued_token_type', { issued_token_type: undefined }],
    ['with a token bound to a key', { token_type: 'DPoP' }],
    ['with a token of two lines', { access_token: 'two\nlines' }],
    ['with a life of nothing', { expires_in: 0 }],
  ])('an answer %s is none', async (_what, answer) => {
    server.answer = answer;
    await expect(minter.mint(requestOf())).rejects.toMatchObject({
      ...{ code: 'KX_PROVIDER_UNREACHABLE', details: { reason: 'answer' } },
    });
  });

  test('scopes beyond what was asked for, or another type of token, are refused', async () => {
    server.answer = { scope: 'read write' };
    await expect(minter.mint(requestOf({ scopes: ['read'] }))).rejects.toMatchObject({
      code: 'KX_MINT_REFUSED',
    });
    server.answer = {};
    const targets = { billing: { requestedTokenType: 'urn:ietf:params:oauth:token-type:jwt' } };
    await expect(minter.mint(requestOf({ provider: providerOf({ targets }) }))).rejects.toMatchObject({
      code: 'KX_MINT_REFUSED',
    });
  });

  test('an unknown life is unknown; fewer scopes than asked for are told', async () => {
    server.answer = { expires_in: undefined, scope: 'read' };
    const minted = await minter.mint(requestOf({ scopes: ['read', 'write'] }));
    expect(minted).toMatchObject({ expiresAt: null, scopes: ['read'] });
  });

  test('a server in trouble may work later, and says when', async () => {
    server.failWith = 429;
    await expect(minter.mint(requestOf())).rejects.toMatchObject({
      ...{ code: 'KX_PROVIDER_UNREACHABLE', details: { retry_after_seconds: 7 } },
    });
  });
});
