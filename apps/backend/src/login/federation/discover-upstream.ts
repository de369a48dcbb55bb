/** Metadata of an identity provider: read through the safe fetch, and checked (OIDC Discovery §4). */
import * as client from 'openid-client';
import type { SafeFetch } from '../../providers/safe-fetch.ts';
import type { SigningJwk } from '../server-keys.ts';
import { clientAuthOf, type ProviderFacts, type UpstreamClient } from './upstream-client.ts';
import { codeOf, findKnown, invalidProvider } from './upstream-errors.ts';

/** identity.md §5: token endpoints get 10 s. */
const timeoutSeconds = 10;

/** What the relying party is made from. */
export interface RelyingPartyParts {
  readonly fetch: SafeFetch;
  /** Local mode: a provider on loopback may speak plain http. */
  readonly local: boolean;
  /** Signs client assertions (`private_key_jwt`); the public half stands in our JWKS. */
  readonly signingKey: SigningJwk;
  readonly nowMs: () => number;
}

/**
 * Reads a provider's metadata and checks them.
 *
 * @throws KontextError `KX_IDENTITY_PROVIDER_INVALID`, `KX_PROVIDER_UNREACHABLE`.
 */
export async function discover(
  parts: RelyingPartyParts,
  upstream: UpstreamClient,
): Promise<client.Configuration> {
  const { issuer, clientId } = upstream.provider;
  try {
    const configuration = await client.discovery(
      new URL(issuer),
      clientId,
      // Clocks of two machines differ.
      { [client.clockTolerance]: 30 },
      clientAuthOf(upstream, parts.signingKey),
      {
        [client.customFetch]: asFetch(parts.fetch),
        timeout: timeoutSeconds,
        execute: [
          client.enableNonRepudiationChecks,
          ...(parts.local && issuer.startsWith('http:') ? [client.allowInsecureRequests] : []),
        ],
      },
    );
    checkMetadata(configuration.serverMetadata(), upstream.provider, parts.local);
    return configuration;
  } catch (error) {
    const known = findKnown(error);
    if (known !== null) throw known;
    throw invalidProvider(issuer, `its metadata cannot be used (${codeOf(error)})`);
  }
}

/** @throws KontextError `KX_IDENTITY_PROVIDER_INVALID`. */
function checkMetadata(
  metadata: client.ServerMetadata,
  { issuer, clientAuth }: ProviderFacts,
  local: boolean,
): void {
  // OIDC Discovery §4.3: exactly; the library compares normalised URLs.
  if (metadata.issuer !== issuer) throw invalidProvider(issuer, 'its metadata name another issuer');
  const { authorization_endpoint, token_endpoint, jwks_uri, userinfo_endpoint } = metadata;
  const wanted = { authorization_endpoint, token_endpoint, jwks_uri };
  for (const [name, value] of Object.entries(wanted)) {
    if (value === undefined) throw invalidProvider(issuer, `its metadata have no ${name}`);
  }
  for (const [name, value] of Object.entries({ ...wanted, userinfo_endpoint })) {
    if (value !== undefined && !isUsableUrl(value, local)) {
      throw invalidProvider(issuer, `its ${name} is not an https URL`);
    }
  }
  const methods = metadata.token_endpoint_auth_methods_supported;
  if (methods !== undefined && !methods.includes(clientAuth)) {
    throw invalidProvider(issuer, `it does not support the client authentication ${clientAuth}`);
  }
}

/** Whether a URL is https, or in local mode http. Where it leads is judged at connect time. */
export function isUsableUrl(text: string, local: boolean): boolean {
  const url = URL.canParse(text) ? new URL(text) : null;
  return url?.protocol === 'https:' || (local && url?.protocol === 'http:');
}

/** The safe fetch in the shape the library calls. */
const asFetch =
  (fetch: SafeFetch): client.CustomFetch =>
  async (url, { method, headers, body }) => {
    const answer = await fetch(url, {
      method: method === 'POST' ? 'POST' : 'GET',
      headers,
      ...(body === undefined || body === null ? {} : { body: String(body) }),
      timeoutMs: timeoutSeconds * 1000,
    });
    const isEmpty = answer.status === 204 || answer.status === 205;
    const { status } = answer;
    return new Response(isEmpty ? null : new Uint8Array(answer.body), { status, headers: answer.headers });
  };
