import { createDpopProof, generateP256Jwk, type P256PrivateJwk } from '@kontext/oauth';
import { approveDevice } from '@kontext/testkit';
import type { TestApp } from './test-app.ts';

/** Tokens of a finished device login, and the key they are bound to. */
export interface TestLogin {
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly jwk: P256PrivateJwk;
}

/** An answer of an OAuth endpoint. */
export interface OAuthAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
}

/** What the device sees when it starts a login. */
export async function startDevice(
  app: TestApp,
  userAgent = 'kontext/0.1.0 (alice-mbp)',
  scope = 'openid offline_access kontext',
): Promise<Record<string, string>> {
  const response = await fetch(`${app.apiUrl}/oauth/device/auth`, {
    method: 'POST',
    headers: { 'user-agent': userAgent },
    body: new URLSearchParams({ client_id: 'kontext-cli', scope }),
  });
  return (await response.json()) as Record<string, string>;
}

/** Posts to the token endpoint with a DPoP proof of that key, or without one. */
export async function postToken(
  app: TestApp,
  params: Readonly<Record<string, string>>,
  key: P256PrivateJwk | null,
  nonce?: string,
): Promise<OAuthAnswer> {
  const htu = `${app.apiUrl}/oauth/token`;
  const dpop = key
    ? { dpop: await createDpopProof({ key, htm: 'POST', htu, nowMs: Date.now(), nonce }) }
    : null;
  const response = await fetch(htu, {
    method: 'POST',
    headers: { ...dpop },
    body: new URLSearchParams({ client_id: 'kontext-cli', ...params }),
  });
  const { status, headers } = response;
  return { status, headers, body: (await response.json()) as Record<string, unknown> };
}

/** One poll of the device (RFC 8628 §3.4). */
export const pollDevice = (
  app: TestApp,
  deviceCode: string,
  key: P256PrivateJwk | null,
): Promise<OAuthAnswer> =>
  postToken(
    app,
    { grant_type: 'urn:ietf:params:oauth:grant-type:device_code', device_code: deviceCode },
    key,
  );

/** One refresh. */
export const refresh = (
  app: TestApp,
  refreshToken: string,
  key: P256PrivateJwk | null,
): Promise<OAuthAnswer> => postToken(app, { grant_type: 'refresh_token', refresh_token: refreshToken }, key);

/** The whole device login, approved by the app's owner. */
export async function logIn(app: TestApp, scope?: string): Promise<TestLogin> {
  const started = await startDevice(app, undefined, scope);
  await approveDevice({ verificationUriComplete: started.verification_uri_complete ?? '', ...app.owner });
  const jwk = generateP256Jwk();
  const { body } = await pollDevice(app, started.device_code ?? '', jwk);
  return { accessToken: String(body.access_token), refreshToken: String(body.refresh_token), jwk };
}
