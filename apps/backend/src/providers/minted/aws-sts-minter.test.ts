import { generateKeyPairSync } from 'node:crypto';
import { type AwsStsStandIn, type StsTrouble, startAwsSts } from '@kontext/testkit';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createSignAssertion } from '../../login/sign-assertion.ts';
import { createSafeFetch } from '../safe-fetch.ts';
import { createAwsStsMinter } from './aws-sts-minter.ts';
import type { Minted } from './minter.ts';
import { awsStsSettings } from './settings.ts';
import { signAwsRequest } from './sign-aws-request.ts';
import { parseStsCredentials, parseStsError } from './sts-answer.ts';
import { testMinterDeps, testMintRequest, testProvider } from './test-target.ts';

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const issuer = 'http://127.0.0.1:4180/oauth';
const signing = [{ ...privateKey.export({ format: 'jwk' }), kid: 'k1', alg: 'ES256', use: 'sig' }] as never;

describe('credentials of AWS STS', () => {
  let sts: AwsStsStandIn;
  beforeAll(async () => {
    sts = await startAwsSts();
    sts.webIdentityIssuer = issuer;
    sts.webIdentityKeys = [publicKey.export({ format: 'jwk' })];
  });
  afterAll(() => sts.close());
  beforeEach(() => {
    sts.trouble = 'none';
  });

  const deps = testMinterDeps({
    ...{ fetch: createSafeFetch({ allowLoopback: true }), issuer },
    signAssertion: createSignAssertion(issuer, { signing }),
  });
  const minter = createAwsStsMinter(deps);
  const read = [{ Effect: 'Allow', Action: ['s3:GetObject'], Resource: '*' }];
  const write = [{ Effect: 'Allow', Action: ['s3:PutObject'], Resource: '*' }];
  const providerOf = (change: object = {}, role: object = {}) =>
    testProvider(
      'aws_sts',
      awsStsSettings.parse({
        ...{ region: sts.region, endpoint: sts.url, accessKeyId: sts.accessKeyId },
        roles: {
          prod: { arn: sts.roleArn, externalId: sts.externalId, policies: { read, write }, ...role },
        },
        ...change,
      }),
    );
  const mint = (
    change: Parameters<typeof testMintRequest>[3] = {},
    secret: string | null = sts.secretAccessKey,
  ) => minter.mint(testMintRequest(minter, change.provider ?? providerOf(), secret, change));
  const part = ({ values }: Minted, field: string): string => values.get(field)?.reveal() ?? '';

  test('a role is assumed with a policy of what the scopes say, and every part can be had', async () => {
    const minted = await mint({ scopes: ['read'] });
    const session = sts.sessions.at(-1);
    expect(session).toMatchObject({
      ...{ policy: { Version: '2012-10-17', Statement: read }, durationSeconds: 1800, webIdentity: null },
      sessionName: expect.stringMatching(/^kontext-lea_/),
    });
    expect(part(minted, 'access-key-id')).toBe(session?.accessKeyId);
    expect(part(minted, 'secret-access-key')).toBe(session?.secretAccessKey);
    expect(part(minted, 'session-token')).toBe(session?.sessionToken);
    expect(part(minted, 'region')).toBe(sts.region);
    expect(JSON.parse(part(minted, ''))).toEqual({
      ...{ Version: 1, AccessKeyId: session?.accessKeyId, SecretAccessKey: session?.secretAccessKey },
      ...{ SessionToken: session?.sessionToken, Expiration: minted.expiresAt?.toISOString() },
    });
    expect(minted).toMatchObject({ scopes: ['read'], keep: null });
  });

  test('without scopes the policy is that of all of them', async () => {
    await mint();
    expect(sts.sessions.at(-1)?.policy).toMatchObject({ Statement: [...read, ...write] });
  });

  test('with a web identity of ours no key is stored anywhere', async () => {
    await mint({ provider: providerOf({ accessKeyId: undefined }) }, null);
    expect(sts.sessions.at(-1)?.webIdentity).toBe('org_1:usr_1:ses_1');
  });

  test('they cannot be taken back', async () => {
    const request = { provider: providerOf(), providerSecret: null, plannedName: 'kontext-x', kept: null };
    expect(await minter.revoke({ ...request, resource: 'prod', leaseId: 'lea_1' })).toBe('impossible');
  });

  test('a placeholder names a role and a part; nothing ends within 15 minutes', () => {
    expect(minter.target(providerOf(), 'prod/secret-access-key')).toEqual({
      ...{ base: 'prod', field: 'secret-access-key', scopes: ['read', 'write'] },
      ttlSeconds: { min: 900, max: 3600 },
    });
    expect(() => minter.target(providerOf(), 'secret-access-key')).toThrow(
      expect.objectContaining({ code: 'KX_RESOURCE_UNKNOWN' }),
    );
  });

  test('what AWS refuses is said by its code', async () => {
    const cases: [Parameters<typeof mint>[0], string | null, string][] = [
      [{}, 'wrong', 'SignatureDoesNotMatch'],
      [{ provider: providerOf({ region: 'us-east-1' }) }, sts.secretAccessKey, 'InvalidClientTokenId'],
      [{ provider: providerOf({}, { externalId: 'other' }) }, sts.secretAccessKey, 'AccessDenied'],
      [
        { provider: providerOf({}, { arn: 'arn:aws:iam::123456789012:role/other' }) },
        sts.secretAccessKey,
        'AccessDenied',
      ],
    ];
    for (const [change, secret, code] of cases) {
      await expect(mint(change, secret)).rejects.toMatchObject({
        ...{ code: 'KX_MINT_REFUSED', details: { aws_code: code } },
      });
    }
    const known = sts.webIdentityKeys;
    sts.webIdentityKeys = [];
    await expect(mint({ provider: providerOf({ accessKeyId: undefined }) }, null)).rejects.toMatchObject({
      details: { aws_code: 'InvalidIdentityToken' },
    });
    sts.webIdentityKeys = known;
  });

  test('a policy beyond what AWS takes is refused before it is sent', async () => {
    const long = [{ Effect: 'Allow', Action: 's3:GetObject', Resource: 'x'.repeat(2100) }];
    const count = sts.sessions.length;
    await expect(mint({ provider: providerOf({}, { policies: { long } }) })).rejects.toMatchObject({
      code: 'KX_MINT_REFUSED',
    });
    expect(sts.sessions).toHaveLength(count);
  });

  test.each<StsTrouble>(['throttled', 'down', 'doctype', 'doubled'])(
    'in trouble (%s) it may work later',
    async (trouble) => {
      sts.trouble = trouble;
      await expect(mint()).rejects.toMatchObject({ code: 'KX_PROVIDER_UNREACHABLE' });
    },
  );
});

describe('AWS Signature Version 4', () => {
  // AWS's published test suite, `post-x-www-form-urlencoded`.
  test('signs as the example of AWS does', () => {
    const key = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' };
    const signed = signAwsRequest(key, {
      ...{ url: new URL('https://example.amazonaws.com/'), body: 'Param1=value1' },
      ...{ region: 'us-east-1', service: 'service', nowMs: Date.parse('2015-08-30T12:36:00Z') },
    });
    expect(signed['x-amz-date']).toBe('20150830T123600Z');
    expect(signed.authorization).toBe(
      'AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a',
    );
  });
});

describe('answers of STS', () => {
  const credentials = (inner: string) => `<A><Credentials>${inner}</Credentials></A>`;
  const good =
    '<AccessKeyId>ASIAEXAMPLEEXAMPLE12</AccessKeyId><SecretAccessKey>s/+=</SecretAccessKey><SessionToken>t/+=</SessionToken><Expiration>2026-01-02T03:04:05Z</Expiration>';

  test('are read when they have the one shape', () => {
    expect(parseStsCredentials(`<?xml version="1.0"?>\n${credentials(good)}`)).toEqual({
      ...{ accessKeyId: 'ASIAEXAMPLEEXAMPLE12', secretAccessKey: 's/+=', sessionToken: 't/+=' },
      expiresAt: new Date('2026-01-02T03:04:05Z'),
    });
    expect(parseStsError('<E><Error><Code>AccessDenied</Code></Error></E>')).toBe('AccessDenied');
  });

  test.each([
    '',
    '{"json": 1}',
    good,
    credentials(good.replace('ASIAEXAMPLEEXAMPLE12', 'short')),
    credentials(good.replace('t/+=', 't t')),
    credentials(good.replace('t/+=', '<b>t</b>')),
    credentials(good.replace('t/+=', '&amp;')),
    credentials(good.replace('2026-01-02T03:04:05Z', 'tomorrow')),
    credentials(good.replace('2026-01-02T03:04:05Z', '2026-13-99T03:04:05Z')),
    credentials(good + good),
    credentials(good) + credentials(good),
    `<!DOCTYPE x>${credentials(good)}`,
    `<A><!-- --><Credentials>${good}</Credentials></A>`,
    credentials(good.replace('t/+=', '<![CDATA[t]]>')),
  ])('are refused else: %j', (xml) => {
    expect(parseStsCredentials(xml)).toBeNull();
  });

  test.each(['', '<Error></Error>', '<Error><Code>a b</Code></Error>', '<!x><Error><Code>A</Code></Error>'])(
    'no error code is read from %j',
    (xml) => {
      expect(parseStsError(xml)).toBeNull();
    },
  );
});
