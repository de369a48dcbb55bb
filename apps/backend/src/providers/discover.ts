import { KontextError } from '@kontext/errors';
import { parseObject } from './answer-members.ts';
import { type SafeFetch, unreachable } from './safe-fetch.ts';

/** What an authorization server says about itself, unchecked but for its issuer. */
export interface Discovered {
  readonly authorizationEndpoint: string;
  readonly tokenEndpoint: string;
  /** Empty, like the next: it names none. */
  readonly revocationEndpoint: string;
  readonly userinfoEndpoint: string;
  /** Names of RFC 8414 §2; empty: it does not say. */
  readonly clientAuths: readonly string[];
}

/**
 * Reads an issuer's metadata: OpenID Connect Discovery §4, else RFC 8414 §3.
 *
 * @param issuer https, without query and fragment; checked by the caller.
 * @throws KontextError `KX_PROVIDER_INVALID` when there is none, or it is of another issuer (RFC 8414 §3.3);
 *   `KX_PROVIDER_UNREACHABLE`.
 */
export async function discover(fetch: SafeFetch, issuer: string): Promise<Discovered> {
  const url = new URL(issuer);
  const path = url.pathname.replace(/\/$/, '');
  const candidates = [
    `${url.origin}${path}/.well-known/openid-configuration`,
    `${url.origin}/.well-known/oauth-authorization-server${path}`,
  ];
  for (const candidate of candidates) {
    const found = await readDocument(fetch, candidate, url.hostname);
    if (found !== null) return checkDocument(found, issuer);
  }
  throw invalid('it has no metadata at the addresses of OpenID Connect Discovery and RFC 8414');
}

async function readDocument(
  fetch: SafeFetch,
  url: string,
  host: string,
): Promise<Record<string, unknown> | null> {
  const request = { method: 'GET', headers: { accept: 'application/json' }, timeoutMs: 2_500 } as const;
  const { status, headers, body } = await fetch(url, { ...request, maxBodyBytes: 256 * 1024 });
  if (status >= 500 || status === 429) throw unreachable('status', host, `it answered ${status}`);
  if (status !== 200 || !/^application\/([a-z.-]+\+)?json\b/i.test(headers['content-type'] ?? ''))
    return null;
  return parseObject(body);
}

function checkDocument(document: Record<string, unknown>, issuer: string): Discovered {
  if (document.issuer !== issuer) throw invalid('its metadata names another issuer');
  const text = (name: string): string => {
    const value = document[name];
    return typeof value === 'string' ? value : '';
  };
  const auths = document.token_endpoint_auth_methods_supported;
  return {
    authorizationEndpoint: text('authorization_endpoint'),
    tokenEndpoint: text('token_endpoint'),
    revocationEndpoint: text('revocation_endpoint'),
    userinfoEndpoint: text('userinfo_endpoint'),
    clientAuths: Array.isArray(auths) ? auths.filter((one) => typeof one === 'string') : [],
  };
}

const invalid = (why: string): KontextError =>
  new KontextError('KX_PROVIDER_INVALID', 'the issuer cannot be used', {
    why,
    hint: 'check the issuer, or give the endpoints yourself',
  });
