/** Us as a client of one identity provider: what we are there, and how we prove it (OIDC Core §9). */
import { createPrivateKey } from 'node:crypto';
import { KontextError } from '@kontext/errors';
import type { Secret } from '@kontext/redaction';
import * as client from 'openid-client';
import type { IdentityProviderRow } from '../../store/queries/identity-providers.ts';
import type { SigningJwk } from '../server-keys.ts';

/** What of a provider is needed to talk to it. */
export type ProviderFacts = Pick<
  IdentityProviderRow,
  'id' | 'issuer' | 'clientId' | 'clientAuth' | 'clientSecretId' | 'scopes'
>;

/** One provider, with our secret there. */
export interface UpstreamClient {
  readonly provider: ProviderFacts;
  /** Null for `private_key_jwt` and `none`. */
  readonly secret: Secret | null;
}

/** The library's client authentication, where the secret is revealed for one request at a time. */
export function clientAuthOf({ provider, secret }: UpstreamClient, key: SigningJwk): client.ClientAuth {
  switch (provider.clientAuth) {
    case 'none':
      return client.None();
    case 'private_key_jwt':
      return privateKeyAuth(key);
    case 'client_secret_basic':
      return (as, metadata, body, headers) =>
        client.ClientSecretBasic(reveal(secret))(as, metadata, body, headers);
    case 'client_secret_post':
      return (as, metadata, body, headers) =>
        client.ClientSecretPost(reveal(secret))(as, metadata, body, headers);
  }
}

function privateKeyAuth({ kid, alg: _alg, use: _use, ...jwk }: SigningJwk): client.ClientAuth {
  const pkcs8 = createPrivateKey({ key: { ...jwk }, format: 'jwk' }).export({ type: 'pkcs8', format: 'der' });
  const importing = crypto.subtle.importKey('pkcs8', pkcs8, { name: 'ECDSA', namedCurve: 'P-256' }, false, [
    'sign',
  ]);
  return async (as, metadata, body, headers) =>
    client.PrivateKeyJwt({ key: await importing, kid })(as, metadata, body, headers);
}

function reveal(secret: Secret | null): string {
  if (secret === null)
    throw new KontextError('KX_INTERNAL', 'an identity provider has lost its client secret');
  return secret.reveal();
}
