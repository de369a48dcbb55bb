import { KontextError } from '@kontext/errors';

/**
 * Turns a failure below HTTP into the error a person can act on.
 *
 * @param error What the request failed with; the chain of causes is searched for a code of Node or OpenSSL.
 * @param url Where the request went; only its origin is shown.
 * @returns `KX_TLS_FAILED`, `KX_NOT_A_BACKEND` or `KX_BACKEND_UNREACHABLE`.
 */
export function networkError(error: unknown, url: string): KontextError {
  const code = systemCode(error);
  const { origin } = new URL(url);
  if (isTlsCode(code)) {
    return new KontextError('KX_TLS_FAILED', `the TLS connection to ${origin} failed`, {
      why: tlsReasons[code] ?? `the certificate or the protocol was refused: ${code}`,
      cause: error,
      ...(/EXPIRED|NOT_YET_VALID/.test(code)
        ? { hint: 'check the certificate, and the clock of this machine' }
        : {}),
    });
  }
  if (code.startsWith('HPE_')) {
    return new KontextError('KX_NOT_A_BACKEND', `${origin} does not answer in HTTP`, { cause: error });
  }
  return new KontextError('KX_BACKEND_UNREACHABLE', `no backend answers at ${origin}`, {
    why: reasons[code] ?? `the request failed${code === '' ? '' : `: ${code}`}`,
    cause: error,
  });
}

const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'the connection was closed before an answer came',
  ENOTFOUND: 'the host name is not known',
  EAI_AGAIN: 'the host name could not be looked up',
  ETIMEDOUT: 'no answer came in time',
  ABORT_ERR: 'no answer came in time',
};

const tlsReasons: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed and not trusted here',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate comes from an authority that is not trusted here',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate comes from an authority that is not trusted here',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate comes from an authority that is not trusted here',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host name',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS; is it plain http?',
  EPROTO: 'it does not speak TLS; is it plain http?',
};

const isTlsCode = (code: string): boolean =>
  /^(CERT_|ERR_TLS_|ERR_SSL_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|EPROTO)/.test(code);

/** The first code of Node in the chain of causes; `fetch` hides it two levels down, a dual-stack connect in a list. */
function systemCode(error: unknown, depth = 0): string {
  if (typeof error !== 'object' || error === null || depth > 5) return '';
  const { code, cause, errors } = error as { code?: unknown; cause?: unknown; errors?: unknown };
  if (typeof code === 'string' && /^[A-Z][A-Z0-9_]+$/.test(code) && !code.startsWith('OAUTH_')) return code;
  const inner = Array.isArray(errors) ? (errors as unknown[])[0] : cause;
  return systemCode(inner, depth + 1);
}
