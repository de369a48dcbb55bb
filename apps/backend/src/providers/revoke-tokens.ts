import { errorName, parseObject } from './answer-members.ts';
import { type OAuth2Deps, send } from './oauth2-http.ts';
import { unreachable } from './safe-fetch.ts';

/** Who revokes what. */
export interface TokenToRevoke {
  readonly name: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly accessToken: string;
}

/** The client's own authentication where an API asks for it as user and password. */
export const basicAuthorization = (clientId: string, clientSecret: string): string =>
  `Basic ${Buffer.from(`${clientId}:${clientSecret}`, 'utf8').toString('base64')}`;

/**
 * Deletes one access token by the provider's own address for that. One it does not know is gone already.
 *
 * @throws KontextError `KX_PROVIDER_UNREACHABLE` when that could not be done.
 */
export async function deleteToken(deps: OAuth2Deps, url: string, token: TokenToRevoke): Promise<void> {
  const { name, clientId, clientSecret, accessToken } = token;
  const { status } = await send(name, deps, url, {
    method: 'DELETE',
    headers: {
      ...{ accept: 'application/json', 'content-type': 'application/json', 'user-agent': 'kontext' },
      authorization: basicAuthorization(clientId, clientSecret),
    },
    body: JSON.stringify({ access_token: accessToken }),
  });
  if ((status >= 200 && status <= 299) || status === 404) return;
  throw unreachable('answer', name, `it answered ${status}`);
}

/** Errors of a token that is dead already. */
const dead: ReadonlySet<string> = new Set([
  'token_revoked',
  'invalid_auth',
  'account_inactive',
  'not_authed',
]);

/**
 * Lets an access token revoke itself.
 *
 * @throws KontextError `KX_PROVIDER_UNREACHABLE` when that could not be done.
 */
export async function revokeByItself(deps: OAuth2Deps, url: string, token: TokenToRevoke): Promise<void> {
  const { name, accessToken } = token;
  const { status, body } = await send(name, deps, url, {
    method: 'POST',
    headers: {
      ...{ accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' },
      authorization: `Bearer ${accessToken}`,
    },
    body: '',
  });
  const json = parseObject(body);
  const error = typeof json?.error === 'string' ? json.error : '';
  if ((status === 200 && json?.ok === true) || dead.has(error)) return;
  throw unreachable('answer', name, `it answered ${error === '' ? status : errorName(error, [accessToken])}`);
}
