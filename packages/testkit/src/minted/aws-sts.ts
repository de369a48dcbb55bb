/**
 * A stand-in for AWS STS: it verifies the signature of every request by AWS's description (Signature Version 4), or the web
 * identity token, and answers in AWS's XML.
 */
import { createHash, createHmac, createPublicKey, type JsonWebKey, randomBytes, verify } from 'node:crypto';
import { type GivenAnswer, type HeardRequest, listen } from './listen.ts';

/** What the next calls meet. */
export type StsTrouble = 'none' | 'throttled' | 'down' | 'doctype' | 'doubled';

/** Credentials as they were given. */
export interface StsSession {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
  readonly roleArn: string;
  readonly sessionName: string;
  readonly policy: unknown;
  readonly durationSeconds: number;
  /** `sub` of the web identity; null when a key asked. */
  readonly webIdentity: string | null;
}

/** See the top of this file. */
export interface AwsStsStandIn {
  readonly url: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
  readonly roleArn: string;
  readonly externalId: string;
  readonly sessions: readonly StsSession[];
  trouble: StsTrouble;
  /** Keys of the issuer that web identities are believed from. */
  webIdentityKeys: readonly JsonWebKey[];
  webIdentityIssuer: string;
  close(): Promise<void>;
}

type State = Omit<AwsStsStandIn, 'url' | 'close' | 'sessions'> & { readonly sessions: StsSession[] };

/** Starts it with one user, whose key may assume one role for an hour at most, with an external id. */
export async function startAwsSts(): Promise<AwsStsStandIn> {
  const state: State = {
    accessKeyId: 'AKIASTANDINEXAMPLE01',
    secretAccessKey: `stand+in/${randomBytes(20).toString('base64')}`,
    region: 'eu-central-1',
    roleArn: 'arn:aws:iam::123456789012:role/agents',
    externalId: 'kontext-example',
    sessions: [],
    trouble: 'none',
    webIdentityKeys: [],
    webIdentityIssuer: '',
  };
  const server = await listen((request) => answer(state, request));
  return Object.assign(state, { url: `${server.url}/`, close: server.close });
}

const xmlHead = { 'content-type': 'text/xml' };
const failure = (status: number, code: string): GivenAnswer => ({
  ...{ status, headers: xmlHead },
  body: `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <Error><Type>Sender</Type><Code>${code}</Code><Message>stand-in says no</Message></Error>
  <RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId>
</ErrorResponse>`,
});

function answer(state: State, request: HeardRequest): GivenAnswer {
  if (state.trouble === 'throttled') return failure(400, 'Throttling');
  if (state.trouble === 'down') return { status: 503, body: 'Service Unavailable' };
  const form = new URLSearchParams(request.body);
  if (request.method !== 'POST' || form.get('Version') !== '2011-06-15') return failure(400, 'InvalidAction');
  switch (form.get('Action')) {
    case 'AssumeRole': {
      const code = whyBadSignature(state, request);
      if (code !== null) return failure(403, code);
      if (form.get('ExternalId') !== state.externalId) return failure(403, 'AccessDenied');
      return assume(state, form, 'AssumeRole', null);
    }
    case 'AssumeRoleWithWebIdentity': {
      const subject = subjectOf(state, form.get('WebIdentityToken') ?? '');
      if (subject === null) return failure(400, 'InvalidIdentityToken');
      return assume(state, form, 'AssumeRoleWithWebIdentity', subject);
    }
    default:
      return failure(400, 'InvalidAction');
  }
}

function assume(
  state: State,
  form: URLSearchParams,
  action: string,
  webIdentity: string | null,
): GivenAnswer {
  const [roleArn, sessionName] = [form.get('RoleArn') ?? '', form.get('RoleSessionName') ?? ''];
  const durationSeconds = Number(form.get('DurationSeconds') ?? '3600');
  if (roleArn !== state.roleArn) return failure(403, 'AccessDenied');
  if (!/^[\w+=,.@-]{2,64}$/.test(sessionName)) return failure(400, 'ValidationError');
  if (!(durationSeconds >= 900 && durationSeconds <= 3600)) return failure(400, 'ValidationError');
  const policy = readPolicy(form.get('Policy') ?? '');
  if (policy === null) return failure(400, 'MalformedPolicyDocument');
  const session: StsSession = {
    accessKeyId: `ASIA${randomBytes(8).toString('hex').toUpperCase()}`,
    secretAccessKey: randomBytes(30).toString('base64'),
    sessionToken: randomBytes(300).toString('base64'),
    ...{ roleArn, sessionName, policy, durationSeconds, webIdentity },
  };
  state.sessions.push(session);
  const expiration = `${new Date(Date.now() + durationSeconds * 1000).toISOString().slice(0, 19)}Z`;
  const credentials = `<Credentials>
      <AccessKeyId>${session.accessKeyId}</AccessKeyId>
      <SecretAccessKey>${session.secretAccessKey}</SecretAccessKey>
      <SessionToken>${session.sessionToken}</SessionToken>
      <Expiration>${expiration}</Expiration>
    </Credentials>`;
  const doctype = state.trouble === 'doctype' ? '<!DOCTYPE x [<!ENTITY e "x">]>' : '';
  const body = `${doctype}<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <${action}Result>
    <AssumedRoleUser><AssumedRoleId>AROA:${sessionName}</AssumedRoleId><Arn>${roleArn}/${sessionName}</Arn></AssumedRoleUser>
    ${credentials}${state.trouble === 'doubled' ? credentials : ''}
    <PackedPolicySize>6</PackedPolicySize>
  </${action}Result>
  <ResponseMetadata><RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId></ResponseMetadata>
</${action}Response>`;
  return { status: 200, headers: xmlHead, body };
}

function readPolicy(text: string): unknown {
  try {
    const policy = JSON.parse(text) as { Version?: unknown; Statement?: unknown };
    const isOne = policy.Version === '2012-10-17' && Array.isArray(policy.Statement);
    return text.length <= 2048 && isOne ? policy : null;
  } catch {
    return null;
  }
}

/** The error AWS gives; null for a good signature. */
function whyBadSignature(state: State, { method, path, headers, body }: HeardRequest): string | null {
  const parts =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/sts\/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$/.exec(
      headers.authorization ?? '',
    );
  if (parts === null) return 'MissingAuthenticationToken';
  const [, keyId, day = '', region = '', names = '', signature] = parts;
  if (keyId !== state.accessKeyId || region !== state.region) return 'InvalidClientTokenId';
  const date = String(headers['x-amz-date']);
  const at = Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
  if (!date.startsWith(day) || !(Math.abs(Date.now() - at) <= 300_000)) return 'SignatureDoesNotMatch';
  const signed = names.split(';');
  if (!signed.includes('host') || !signed.includes('x-amz-date')) return 'IncompleteSignature';
  const sha = (text: string) => createHash('sha256').update(text).digest('hex');
  const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest();
  const lines = signed
    .map((name) => `${name}:${String(headers[name]).trim().replace(/ +/g, ' ')}\n`)
    .join('');
  const canonical = `${method}\n${path}\n\n${lines}\n${names}\n${sha(body)}`;
  const toSign = `AWS4-HMAC-SHA256\n${date}\n${day}/${region}/sts/aws4_request\n${sha(canonical)}`;
  const key = [day, region, 'sts', 'aws4_request'].reduce<string | Buffer>(
    (one, text) => hmac(one, text),
    `AWS4${state.secretAccessKey}`,
  );
  return hmac(key, toSign).toString('hex') === signature ? null : 'SignatureDoesNotMatch';
}

/** `sub` of a web identity token that is believed; null for any other. */
function subjectOf({ webIdentityKeys, webIdentityIssuer }: State, jwt: string): string | null {
  const [head = '', payload = '', signature = ''] = jwt.split('.');
  const isSigned = webIdentityKeys.some((jwk) =>
    verify(
      'sha256',
      Buffer.from(`${head}.${payload}`),
      { key: createPublicKey({ key: jwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' },
      Buffer.from(signature, 'base64url'),
    ),
  );
  if (!isSigned) return null;
  const { iss, aud, exp, sub } = JSON.parse(Buffer.from(payload, 'base64url').toString());
  const isOurs = iss === webIdentityIssuer && aud === 'sts.amazonaws.com' && exp > Date.now() / 1000;
  return isOurs ? sub : null;
}
