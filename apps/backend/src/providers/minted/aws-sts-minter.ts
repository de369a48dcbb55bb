import { KontextError } from '@kontext/errors';
import { Secret } from '@kontext/redaction';
import { unreachable } from '../safe-fetch.ts';
import { badAnswer, mintRefused } from './judge-answer.ts';
import type { Minted, Minter, MinterDeps, MintRequest } from './minter.ts';
import { pickEntry } from './pick-entry.ts';
import { type AwsStsSettings, awsStsSettings } from './settings.ts';
import { signAwsRequest } from './sign-aws-request.ts';
import { parseStsCredentials, parseStsError, type StsCredentials } from './sts-answer.ts';

const fields = ['access-key-id', 'secret-access-key', 'session-token', 'region'] as const;
/** What STS takes, in seconds; a role may allow less than the most. */
const [shortest, longest] = [900, 43_200];
const defaultMaxTtlSeconds = 3600;
/** Plain text of an inline session policy, at most. */
const maxPolicyLength = 2048;
const assertionSeconds = 300;
/** Whom a token for AssumeRoleWithWebIdentity is for, as the identity provider is registered in IAM. */
const webIdentityAudience = 'sts.amazonaws.com';

/**
 * Credentials of a role, narrowed by an inline session policy that the scopes put together. They cannot be taken back: AWS knows
 * no way to do it for one session of a role. The default value is what `credential_process` prints.
 */
export function createAwsStsMinter(deps: MinterDeps): Minter {
  return {
    target: ({ settings }, resource) => {
      const { base, field, entry } = pickEntry(read(settings).roles, resource, fields);
      const max = entry.maxTtlSeconds ?? defaultMaxTtlSeconds;
      return { base, field, scopes: Object.keys(entry.policies), ttlSeconds: { min: shortest, max } };
    },
    plan: (leaseId) => `kontext-${leaseId}`,
    mint: (request) => mint(deps, request),
    revoke: async () => 'impossible',
  };
}

const read = (settings: string): AwsStsSettings => awsStsSettings.parse(JSON.parse(settings));

async function mint(deps: MinterDeps, request: MintRequest): Promise<Minted> {
  const { provider, target } = request;
  const settings = read(provider.settings);
  const { entry } = pickEntry(settings.roles, target.base, fields);
  const scopes = request.scopes.length === 0 ? Object.keys(entry.policies) : request.scopes;
  const Statement = scopes.flatMap((scope) => entry.policies[scope] ?? []);
  const Policy = JSON.stringify({ Version: '2012-10-17', Statement });
  if (Policy.length > maxPolicyLength) {
    throw mintRefused(provider.name, `the session policy is longer than ${maxPolicyLength} characters`);
  }
  const form = {
    ...{ Version: '2011-06-15', RoleArn: entry.arn, RoleSessionName: request.plannedName, Policy },
    DurationSeconds: String(Math.min(Math.max(request.ttlSeconds, shortest), longest)),
  };
  const credentials =
    settings.accessKeyId === undefined
      ? await ask(deps, request, settings, { ...form, ...(await webIdentity(deps, request)) })
      : await ask(deps, request, settings, {
          ...{ ...form, Action: 'AssumeRole' },
          ...(entry.externalId === undefined ? {} : { ExternalId: entry.externalId }),
        });
  return {
    values: valuesOf(credentials, settings.region),
    expiresAt: credentials.expiresAt,
    scopes,
    keep: null,
  };
}

/** Nothing is stored at either side: AWS trusts our issuer and reads our keys. */
async function webIdentity(deps: MinterDeps, request: MintRequest): Promise<Record<string, string>> {
  const { orgId, userId, sessionId, plannedName } = request;
  const now = Math.floor(deps.nowMs() / 1000);
  const WebIdentityToken = await deps.signAssertion({
    ...{ sub: `${orgId}:${userId}:${sessionId ?? 'none'}`, aud: webIdentityAudience },
    ...{ iat: now, nbf: now - 60, exp: now + assertionSeconds, jti: plannedName, org: orgId },
  });
  return { Action: 'AssumeRoleWithWebIdentity', WebIdentityToken };
}

async function ask(
  deps: MinterDeps,
  { provider, providerSecret }: MintRequest,
  settings: AwsStsSettings,
  form: Readonly<Record<string, string>>,
): Promise<StsCredentials> {
  const { region, accessKeyId, endpoint = endpointOf(region) } = settings;
  const url = new URL(endpoint);
  const body = new URLSearchParams(form).toString();
  const unsigned = { 'content-type': 'application/x-www-form-urlencoded' };
  const headers =
    accessKeyId === undefined
      ? unsigned
      : signAwsRequest(
          { accessKeyId, secretAccessKey: providerSecret?.reveal().trim() ?? '' },
          { url, body, region, service: 'sts', nowMs: deps.nowMs() },
        );
  const answer = await deps.fetch(url.href, { method: 'POST', headers, body });
  const text = answer.body.toString('utf8');
  if (answer.status !== 200) throw judge(provider.name, answer.status, parseStsError(text));
  const credentials = parseStsCredentials(text);
  if (credentials === null) throw badAnswer(provider.name, 'its answer is not that of STS');
  return credentials;
}

/** The region's own endpoint; the global one is slower and its tokens work in fewer regions. */
const endpointOf = (region: string): string =>
  `https://sts.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}/`;

const transientCodes: ReadonlySet<string> = new Set([
  ...['Throttling', 'ThrottlingException', 'RequestLimitExceeded', 'ServiceUnavailable'],
  ...['InternalFailure', 'IDPCommunicationError'],
]);

function judge(name: string, status: number, code: string | null): KontextError {
  if (status >= 500 || status === 429 || (code !== null && transientCodes.has(code))) {
    return unreachable('status', name, `it answered ${status}${code === null ? '' : ` ${code}`}`);
  }
  if (code === null) return badAnswer(name, `it answered ${status}`);
  return new KontextError('KX_MINT_REFUSED', `${name} refused: ${code}`, { details: { aws_code: code } });
}

function valuesOf(credentials: StsCredentials, region: string): ReadonlyMap<string, Secret> {
  const { accessKeyId, secretAccessKey, sessionToken, expiresAt } = credentials;
  const forProcess = JSON.stringify({
    ...{ Version: 1, AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey },
    ...{ SessionToken: sessionToken, Expiration: expiresAt.toISOString() },
  });
  const byField = {
    ...{ '': forProcess, 'access-key-id': accessKeyId, 'secret-access-key': secretAccessKey },
    ...{ 'session-token': sessionToken, region },
  };
  return new Map(Object.entries(byField).map(([field, value]) => [field, new Secret(value)]));
}
