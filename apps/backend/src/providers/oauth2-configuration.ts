/** A provider as the library wants it: endpoints, the safe fetch, and how the client proves itself (RFC 6749 §2.3). */
import {
  allowInsecureRequests,
  type ClientAuth,
  ClientSecretPost,
  Configuration,
  customFetch,
  modifyAssertion,
  None,
  PrivateKeyJwt,
} from 'openid-client';
import { loadClientKey } from './client-key.ts';
import { fetchOnce, type OAuth2Deps, type Observed } from './oauth2-http.ts';
import { isLoopbackUrlHost } from './public-address.ts';
import type { OAuth2Quirks } from './quirks.ts';
import { basicAuthorization } from './revoke-tokens.ts';

/** A provider as its organisation described it. */
export interface OAuth2Provider {
  readonly name: string;
  readonly authorizationEndpoint: string;
  readonly tokenEndpoint: string;
  /** Empty: it has none. */
  readonly revocationEndpoint: string;
  readonly clientId: string;
  /** Empty with `none`. */
  readonly clientSecret: string;
  /** With `private_key_jwt` the client secret is the private key, PEM. */
  readonly clientAuth: 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt' | 'none';
  /** Default: it keeps to the standards. */
  readonly quirks?: OAuth2Quirks;
  /** Empty or absent: unknown. */
  readonly issuer?: string;
}

/** A provider with its quirks filled in. */
export type Quirky = OAuth2Provider & { readonly quirks: OAuth2Quirks };

/** The library's configuration for one request; what was seen of its answer stands in `observed` afterwards. */
export async function configure(
  provider: Quirky,
  deps: OAuth2Deps,
  observed: Observed,
): Promise<Configuration> {
  const { authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId } = provider;
  const config = new Configuration(
    {
      // Never compared: the answers that would carry an issuer are not used.
      issuer: new URL(tokenEndpoint).origin,
      authorization_endpoint: authorizationEndpoint,
      token_endpoint: tokenEndpoint,
      ...(revocationEndpoint === '' ? {} : { revocation_endpoint: revocationEndpoint }),
    },
    clientId,
    undefined,
    await clientAuth(provider),
  );
  // Which plain http is allowed is decided by the safe fetch; here the library's own check is only made to agree.
  const endpoints = [authorizationEndpoint, tokenEndpoint, revocationEndpoint].filter((url) => url !== '');
  if (endpoints.some((url) => isLoopbackUrlHost(new URL(url).hostname))) allowInsecureRequests(config);
  config[customFetch] = (url, options) => fetchOnce(provider, deps, observed, url, options);
  return config;
}

async function clientAuth(provider: Quirky): Promise<ClientAuth> {
  const { clientAuth: method, clientSecret } = provider;
  if (method === 'client_secret_basic') return basic(clientSecret);
  if (method === 'client_secret_post') return ClientSecretPost(clientSecret);
  return method === 'private_key_jwt' ? signedAssertion(provider) : None();
}

/**
 * RFC 6749 §2.3.1, encoded as appendix B says and no further: the library also encodes `-`, `.` and `_`, and a provider that
 * does not decode (Notion) would then know none of its own client ids.
 */
const basic =
  (clientSecret: string): ClientAuth =>
  (_server, { client_id: clientId }, _body, headers) =>
    headers.set('authorization', basicAuthorization(formEncode(clientId), formEncode(clientSecret)));

const formEncode = (text: string): string => new URLSearchParams([['', text]]).toString().slice(1);

/** RFC 7523 §2.2, §3. The audience is one string, what the provider is known to expect (identity.md G8). */
async function signedAssertion({ clientSecret, quirks, issuer, tokenEndpoint }: Quirky): Promise<ClientAuth> {
  const { key } = await loadClientKey(clientSecret);
  const { assertionKeyId, assertionAudience } = quirks;
  return PrivateKeyJwt(assertionKeyId === '' ? key : { key, kid: assertionKeyId }, {
    [modifyAssertion]: (_header, payload) => {
      payload.aud = assertionAudience === 'issuer' && issuer ? issuer : tokenEndpoint;
    },
  });
}
