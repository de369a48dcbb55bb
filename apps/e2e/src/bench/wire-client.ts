/** A client of the wire: no part of the command is in the way. What it signs, it signs before a clock starts. */
import { createHash, createPrivateKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { approveDevice } from '@kontext/testkit';
import type { World } from '../world.ts';
import { type PreparedRequest, sendForJson } from './load.ts';

/** A login of its own, by the device flow. */
export interface WireClient {
  /** A request to the token endpoint. */
  token(params: Readonly<Record<string, string>>): PreparedRequest;
  /** A call, such as `SessionService/OpenSession`; JSON, or the bytes of a message in binary form. */
  call(rpc: string, message: object | Uint8Array): PreparedRequest;
  accessToken(): string;
  /** Takes a new access token when the old one is about to end; call it before every round. */
  keepAlive(): Promise<void>;
}

const form = 'application/x-www-form-urlencoded';
/** Access tokens live for 300 s. */
const refreshAfterMs = 150_000;

/** Makes proofs (RFC 9449 §4.2) for one key. */
function createProver() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { kty, crv, x, y } = privateKey.export({ format: 'jwk' });
  const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url');
  const head = encode({ typ: 'dpop+jwt', alg: 'ES256', jwk: { kty, crv, x, y } });
  const key = {
    key: createPrivateKey(privateKey.export({ format: 'pem', type: 'pkcs8' })),
    dsaEncoding: 'ieee-p1363' as const,
  };
  return (htu: string, accessToken?: string): string => {
    const ath = accessToken && { ath: createHash('sha256').update(accessToken).digest('base64url') };
    const claims = { jti: randomUUID(), htm: 'POST', htu, iat: Math.floor(Date.now() / 1000), ...ath };
    const signed = `${head}.${encode(claims)}`;
    return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`;
  };
}

interface Tokens {
  readonly access_token: string;
  readonly refresh_token: string;
}

/** Logs in. */
export async function createWireClient({ apiUrl, account, passcode }: World): Promise<WireClient> {
  const prove = createProver();
  const tokenUrl = `${apiUrl}/oauth/token`;
  const token = (params: Readonly<Record<string, string>>): PreparedRequest => ({
    url: tokenUrl,
    headers: { 'content-type': form, dpop: prove(tokenUrl) },
    body: new URLSearchParams({ client_id: 'kontext-cli', ...params }).toString(),
  });
  const logIn = async (): Promise<Tokens> => {
    const body = new URLSearchParams({ client_id: 'kontext-cli', scope: 'openid offline_access kontext' });
    const url = `${apiUrl}/oauth/device/auth`;
    const headers = { 'content-type': form };
    const started = await sendForJson<Record<string, string>>({ url, headers, body: body.toString() });
    const verificationUriComplete = started.verification_uri_complete ?? '';
    await approveDevice({ verificationUriComplete, account, passcode });
    const grant_type = 'urn:ietf:params:oauth:grant-type:device_code';
    return sendForJson(token({ grant_type, device_code: started.device_code ?? '' }));
  };
  let login = await logIn();
  let loggedInAtMs = performance.now();

  return {
    token,
    accessToken: () => login.access_token,
    call: (rpc, message) => {
      const url = `${apiUrl}/kontext.v1.${rpc}`;
      const authorization = `DPoP ${login.access_token}`;
      const isBinary = message instanceof Uint8Array;
      const type = isBinary ? 'application/proto' : 'application/json';
      const headers = { 'content-type': type, authorization, dpop: prove(url, login.access_token) };
      return { url, headers, body: isBinary ? message : JSON.stringify(message) };
    },
    keepAlive: async () => {
      if (performance.now() - loggedInAtMs < refreshAfterMs) return;
      const refreshed = token({ grant_type: 'refresh_token', refresh_token: login.refresh_token });
      login = { ...login, ...(await sendForJson<Tokens>(refreshed)) };
      loggedInAtMs = performance.now();
    },
  };
}
