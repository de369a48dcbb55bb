/**
 * The wire as any program of the developer's user can speak it with the developer's login: no code of ours, node built-ins only.
 */
import { createHash, createPrivateKey, randomUUID, sign } from 'node:crypto';

/** A login as the keyring, or a file, holds it. */
export interface StoredLogin {
  readonly refreshToken: string;
  readonly jwk: { readonly kty: string; readonly crv: string; readonly x: string; readonly y: string };
}

/** What the backend answered. */
export interface RawAnswer {
  /** `let through`, or our stable code. */
  readonly code: string;
  readonly body: Record<string, unknown>;
  readonly detail: Record<string, string>;
}

/** Speaks with the key of one login. */
export interface RawClient {
  /** A DPoP proof (RFC 9449) for a POST. */
  prove(url: string, accessToken?: string): string;
  /** An access token of the login. */
  refresh(): Promise<string>;
  /** Calls `Service/Method` with a JSON message. */
  call(token: string, name: string, message: object, confirmation?: string): Promise<RawAnswer>;
}

/** Makes a client of a login. */
export function createRawClient(apiUrl: string, login: StoredLogin): RawClient {
  const key = createPrivateKey({ key: login.jwk, format: 'jwk' });
  const prove = (url: string, accessToken?: string): string => {
    const { kty, crv, x, y } = login.jwk;
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const ath = accessToken && createHash('sha256').update(accessToken).digest('base64url');
    const claims = { jti: randomUUID(), htm: 'POST', htu: url, iat: Math.floor(Date.now() / 1000) };
    const head = { typ: 'dpop+jwt', alg: 'ES256', jwk: { kty, crv, x, y } };
    const text = `${encode(head)}.${encode({ ...claims, ...(ath ? { ath } : {}) })}`;
    const signature = sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' });
    return `${text}.${signature.toString('base64url')}`;
  };
  return {
    prove,
    refresh: async () => {
      const url = `${apiUrl}/oauth/token`;
      const { refreshToken } = login;
      const fields = { grant_type: 'refresh_token', refresh_token: refreshToken, client_id: 'kontext-cli' };
      const answer = await fetch(url, {
        method: 'POST',
        headers: { dpop: prove(url) },
        body: new URLSearchParams(fields),
      });
      const { access_token: token } = (await answer.json()) as { access_token?: string };
      if (token === undefined) throw new Error(`the login does not even work: ${answer.status}`);
      return token;
    },
    call: async (token, name, message, confirmation) => {
      const url = `${apiUrl}/kontext.v1.${name}`;
      const answer = await fetch(url, {
        method: 'POST',
        headers: {
          authorization: `DPoP ${token}`,
          dpop: prove(url, token),
          'content-type': 'application/json',
          ...(confirmation === undefined ? {} : { 'kontext-confirmation': confirmation }),
        },
        body: JSON.stringify(message),
      });
      const body = (await answer.json()) as Record<string, unknown>;
      const [first] = (body.details as { debug?: Record<string, string> }[] | undefined) ?? [];
      const detail = first?.debug ?? {};
      return { code: answer.ok ? 'let through' : (detail.code ?? String(body.code)), body, detail };
    },
  };
}
