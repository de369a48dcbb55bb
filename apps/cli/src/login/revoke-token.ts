import type { Secret } from '@kontext/redaction';
import { request } from '../rpc/request.ts';
import { clientId } from './access-tokens.ts';
import type { Login } from './login-item.ts';

/** Where oidc-provider has its revocation endpoint under our issuer. */
const revocationPath = '/token/revocation';

/**
 * Revokes a refresh token and with it the grant (RFC 7009 §2.1).
 *
 * @returns Null when the backend has done it, else why not, in words.
 */
export async function revokeToken(login: Pick<Login, 'iss'>, token: Secret): Promise<string | null> {
  try {
    const answer = await request({
      method: 'POST',
      url: `${login.iss}${revocationPath}`,
      timeoutMs: 5_000,
      form: { token: token.reveal(), token_type_hint: 'refresh_token', client_id: clientId },
    });
    // §2.2: 200 also for a token the server does not know.
    return answer.status === 200 ? null : `the backend answered with status ${answer.status}`;
  } catch (error) {
    return error instanceof Error ? error.message : 'the request failed';
  }
}
