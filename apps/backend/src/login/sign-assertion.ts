import { KontextError } from '@kontext/errors';
import { importJWK, SignJWT } from 'jose';
import type { ServerKeys } from './server-keys.ts';

/** Signs what other servers are to believe about a user: a JWT for them, never for us (`typ` keeps it from being an access token). */
export type SignAssertion = (claims: Readonly<Record<string, unknown>>) => Promise<string>;

/**
 * Creates the signer; it uses the authorization server's active key, which its JWKS publishes.
 *
 * @param issuer Our issuer, `iss` of everything signed.
 */
export function createSignAssertion(issuer: string, keys: Pick<ServerKeys, 'signing'>): SignAssertion {
  return async (claims) => {
    const [jwk] = keys.signing;
    if (jwk === undefined) throw new KontextError('KX_INTERNAL', 'there is no signing key');
    return new SignJWT({ ...claims, iss: issuer })
      .setProtectedHeader({ alg: jwk.alg, kid: jwk.kid, typ: 'JWT' })
      .sign(await importJWK({ ...jwk }, jwk.alg));
  };
}
