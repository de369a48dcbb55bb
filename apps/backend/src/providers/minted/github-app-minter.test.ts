import { generateKeyPairSync } from 'node:crypto';
import { type GithubAppStandIn, type GithubTrouble, startGithubApp } from '@kontext/testkit';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createSafeFetch } from '../safe-fetch.ts';
import { createGithubAppMinter } from './github-app-minter.ts';
import type { Minted, MintRequest } from './minter.ts';
import { githubAppSettings } from './settings.ts';
import { testMinterDeps, testMintRequest, testProvider } from './test-target.ts';

describe('installation tokens of a GitHub App', () => {
  let github: GithubAppStandIn;
  beforeAll(async () => {
    github = await startGithubApp();
  });
  afterAll(() => github.close());
  beforeEach(() => {
    github.trouble = 'none';
  });

  const minter = createGithubAppMinter(testMinterDeps({ fetch: createSafeFetch({ allowLoopback: true }) }));
  const providerOf = (change: object = {}) =>
    testProvider(
      'github_app',
      githubAppSettings.parse({
        ...{ app: github.app, installation: github.installation, api: github.url },
        sets: {
          web: { repositories: ['web', 'api'], permissions: { contents: 'write', issues: 'read' } },
          everything: { permissions: { contents: 'read' } },
        },
        ...change,
      }),
    );
  const requestOf = (change: Parameters<typeof testMintRequest>[3] = {}, secret = github.privateKey) =>
    testMintRequest(minter, change.provider ?? providerOf(), secret, { resource: 'web', ...change });
  const revoke = ({ provider, providerSecret, plannedName }: MintRequest, { keep }: Pick<Minted, 'keep'>) =>
    minter.revoke({ provider, providerSecret, plannedName, kept: keep, resource: 'web', leaseId: 'lea_1' });

  test('a token is for the repositories of the set and for what the scopes say', async () => {
    const minted = await minter.mint(requestOf({ scopes: ['contents:read'] }));
    const token = minted.values.get('')?.reveal() ?? '';
    expect(github.tokens.get(token)).toMatchObject({
      ...{ repositories: ['web', 'api'], permissions: { contents: 'read', metadata: 'read' } },
    });
    expect(token.length).toBeGreaterThan(300);
    expect(minted.scopes).toEqual(['contents:read']);
    expect(Math.abs(Number(minted.expiresAt) - Date.now() - 3_600_000)).toBeLessThan(60_000);
  });

  test('without scopes it is all the set allows; of two levels the higher counts', async () => {
    const all = await minter.mint(requestOf());
    expect(all.scopes).toEqual(['contents:write', 'issues:read']);
    const both = await minter.mint(requestOf({ scopes: ['contents:write', 'contents:read'] }));
    expect(both.scopes).toEqual(['contents:write']);
    const open = await minter.mint(requestOf({ resource: 'everything' }));
    expect(github.tokens.get(open.values.get('')?.reveal() ?? '')?.repositories).toBeNull();
  });

  test('scopes that may be asked for are the levels up to that of the set', () => {
    expect(minter.target(providerOf(), 'web').scopes).toEqual([
      'contents:read',
      'contents:write',
      'issues:read',
    ]);
    for (const wrong of ['', 'other', 'web/token']) {
      expect(() => minter.target(providerOf(), wrong)).toThrow(
        expect.objectContaining({ code: 'KX_RESOURCE_UNKNOWN' }),
      );
    }
  });

  test('revoking ends the token; one that is gone, or was never kept, is gone', async () => {
    const request = requestOf();
    const minted = await minter.mint(request);
    expect(await revoke(request, minted)).toBe('revoked');
    expect(github.tokens.has(minted.values.get('')?.reveal() ?? '')).toBe(false);
    expect(await revoke(request, minted)).toBe('gone');
    expect(await revoke(request, { keep: null })).toBe('gone');
  });

  const otherKey = () =>
    String(
      generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' }),
    );

  test('what GitHub refuses is said', async () => {
    await expect(minter.mint(requestOf({}, otherKey()))).rejects.toMatchObject({
      ...{ code: 'KX_MINT_REFUSED', message: expect.stringMatching(/private key/) },
    });
    const cases: [object, RegExp][] = [
      [{ installation: 1 }, /no such installation/],
      [
        { sets: { web: { repositories: ['other'], permissions: { contents: 'read' } } } },
        /repository or perm/,
      ],
      [{ sets: { web: { permissions: { actions: 'read' } } } }, /repository or permission/],
    ];
    for (const [change, message] of cases) {
      await expect(minter.mint(requestOf({ provider: providerOf(change) }))).rejects.toMatchObject({
        ...{ code: 'KX_MINT_REFUSED', message: expect.stringMatching(message) },
      });
    }
    github.trouble = 'suspended';
    await expect(minter.mint(requestOf())).rejects.toMatchObject({ code: 'KX_MINT_REFUSED' });
  });

  test.each<[GithubTrouble, object]>([
    ['rate limit', { reason: 'status', retry_after_seconds: 60 }],
    ['down', { reason: 'status' }],
    ['garbage', { reason: 'answer' }],
  ])('in trouble (%s) it may work later, for minting and for revoking', async (trouble, details) => {
    const request = requestOf();
    const minted = await minter.mint(request);
    github.trouble = trouble;
    await expect(minter.mint(requestOf())).rejects.toMatchObject({
      code: 'KX_PROVIDER_UNREACHABLE',
      details,
    });
    await expect(revoke(request, minted)).rejects.toMatchObject({ code: 'KX_PROVIDER_UNREACHABLE' });
  });

  test.each<GithubTrouble>(['generous', 'everywhere'])(
    'a token that may do more than was asked for (%s) is taken back and not handed out',
    async (trouble) => {
      github.trouble = trouble;
      const before = github.tokens.size;
      await expect(minter.mint(requestOf())).rejects.toMatchObject({ code: 'KX_MINT_REFUSED' });
      expect(github.tokens.size).toBe(before);
    },
  );

  test('a key that is none is refused and not quoted', async () => {
    const error = await minter.mint(requestOf({}, 'not-a-key')).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'KX_PROVIDER_INVALID' });
    expect(JSON.stringify(error)).not.toContain('not-a-key');
  });
});
