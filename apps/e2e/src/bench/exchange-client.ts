import { createHash, createPrivateKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { approveDevice } from '@kontext/testkit';
import type { World } from '../world.ts';
import { type PreparedRequest, send } from './load.ts';

/** A login of its own with sessions, as a client of the wire: no part of the command is in the way. */
export interface ExchangeClient {
  /** A token exchange (RFC 8693) with the login's token as subject, inside one of the sessions in turn. */
  exchange(params: Readonly<Record<string, string>>): PreparedRequest;
  /** `ResolveCredentials` of some providers. */
  resolve(providers: readonly string[]): PreparedRequest;
  /** Keeps sessions and access token alive; call it before every round. */
  keepAlive(): Promise<void>;
}

const form = 'application/x-www-form-urlencoded';
const tokenExchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token';
/** As many agents at once as there are connections: one session's events are stored one after the other. */
const sessions = 8;
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

/** Logs in by the device flow with a key of its own, and opens sessions. */
export async function createExchangeClient({ apiUrl, account, passcode }: World): Promise<ExchangeClient> {
  const prove = createProver();
  const tokenUrl = `${apiUrl}/oauth/token`;
  const token = (params: Readonly<Record<string, string>>): PreparedRequest => ({
    url: tokenUrl,
    headers: { 'content-type': form, dpop: prove(tokenUrl) },
    body: new URLSearchParams({ client_id: 'kontext-cli', ...params }).toString(),
  });
  let login = await logIn();
  let loggedInAtMs = performance.now();

  async function logIn(): Promise<{ access_token: string; refresh_token: string }> {
    const body = new URLSearchParams({ client_id: 'kontext-cli', scope: 'openid offline_access kontext' });
    const started = JSON.parse(
      await send({
        url: `${apiUrl}/oauth/device/auth`,
        headers: { 'content-type': form },
        body: body.toString(),
      }),
    ) as Record<string, string>;
    const verificationUriComplete = started.verification_uri_complete ?? '';
    await approveDevice({ verificationUriComplete, account, passcode });
    const grant_type = 'urn:ietf:params:oauth:grant-type:device_code';
    return JSON.parse(await send(token({ grant_type, device_code: started.device_code ?? '' })));
  }
  const call = (rpc: string, message: object): PreparedRequest => {
    const url = `${apiUrl}/kontext.v1.${rpc}`;
    const { access_token: accessToken } = login;
    const authorization = `DPoP ${accessToken}`;
    const headers = { 'content-type': 'application/json', authorization, dpop: prove(url, accessToken) };
    return { url, headers, body: JSON.stringify(message) };
  };
  const sessionIds: string[] = [];
  for (let n = 0; n < sessions; n += 1) {
    const opened = { agent: 'run', agentVersion: '1', hostname: 'bench', cliVersion: '1' };
    const answer = JSON.parse(await send(call('SessionService/OpenSession', opened))) as {
      session: { id: string };
    };
    sessionIds.push(answer.session.id);
  }
  let turn = 0;
  const nextSession = (): string => sessionIds[turn++ % sessions] ?? '';
  return {
    exchange: (params) =>
      token({
        ...{ grant_type: tokenExchange, session_id: nextSession(), ...params },
        ...{ subject_token: login.access_token, subject_token_type: accessTokenType },
      }),
    resolve: (providers) =>
      call('CredentialService/ResolveCredentials', {
        sessionId: nextSession(),
        placeholders: providers.map((provider) => ({ provider })),
      }),
    keepAlive: async () => {
      if (performance.now() - loggedInAtMs > refreshAfterMs) {
        const refreshed = token({ grant_type: 'refresh_token', refresh_token: login.refresh_token });
        login = { ...login, ...JSON.parse(await send(refreshed)) };
        loggedInAtMs = performance.now();
      }
      for (const sessionId of sessionIds) await send(call('SessionService/HeartbeatSession', { sessionId }));
    },
  };
}
