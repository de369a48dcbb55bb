import { KontextError } from '@kontext/errors';
import { type NonceIssuer, verifyDpopProof } from '@kontext/oauth';
import type { KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { Logger } from '../../log.ts';
import type { VolumeLimiter } from '../../login/volume-limits.ts';
import { issuerOf, tokenExchangeGrant } from './provider.ts';

/** A token exchange request as it arrived; nothing in it was judged but the client and the DPoP proof. */
export interface TokenExchangeHttpRequest {
  /** Every parameter of RFC 8693 §2.1 that was sent, and our `session_id`; each stood there once. */
  readonly params: Readonly<Record<string, string>>;
  /** The authenticated client (a public client only names itself). */
  readonly clientId: string;
  /** Key that proved itself and `jti` of the proof, whose replay the handler looks up; null when there was no proof. */
  readonly proof: { readonly jkt: string; readonly jti: string } | null;
  readonly address: string;
}

/** The whole answer: status and body go out as they are (identity.md G7: extension members must not be dropped). */
export interface TokenExchangeHttpResponse {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
  /** For example `retry-after`. `cache-control: no-store` is always set. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Does the exchange; lives in `credentials/`. It answers refusals itself and throws only what it did not expect. */
export type TokenExchangeHandler = (request: TokenExchangeHttpRequest) => Promise<TokenExchangeHttpResponse>;

/** What the grant needs from its surroundings. */
export interface TokenExchangeGrantOptions {
  readonly apiUrl: string;
  readonly nonces: NonceIssuer;
  readonly volume: Pick<VolumeLimiter, 'countExchange'>;
  readonly logger: Logger;
  readonly nowMs: () => number;
}

const parameters = [
  'subject_token',
  'subject_token_type',
  'actor_token',
  'actor_token_type',
  'audience',
  'resource',
  'scope',
  'requested_token_type',
  'authorization_details',
  'session_id',
];

/**
 * Registers RFC 8693 token exchange at `/oauth/token`.
 *
 * The library does not look at DPoP in custom grants (G6): proof and nonce are checked here, with the verifier that
 * also guards every RPC; replay by the handler, in the statement that looks up the subject.
 */
export function registerTokenExchange(
  provider: Provider,
  handler: TokenExchangeHandler,
  options: TokenExchangeGrantOptions,
): void {
  const exchange = async (ctx: KoaContextWithOIDC): Promise<void> => {
    const response = await answer(ctx, handler, options);
    ctx.status = response.status;
    ctx.set('cache-control', 'no-store');
    ctx.set('dpop-nonce', options.nonces.issue(options.nowMs()));
    for (const [name, value] of Object.entries(response.headers ?? {})) ctx.set(name, value);
    ctx.body = { ...response.body };
  };
  provider.registerGrantType(tokenExchangeGrant, exchange, parameters);
}

async function answer(
  ctx: KoaContextWithOIDC,
  handler: TokenExchangeHandler,
  options: TokenExchangeGrantOptions,
): Promise<TokenExchangeHttpResponse> {
  try {
    const proof = await readProof(ctx, options);
    options.volume.countExchange(proof?.jkt ?? ctx.ip);
    const sent = Object.entries(ctx.oidc.params ?? {}).filter(
      ([name, value]) => parameters.includes(name) && value,
    );
    const params = Object.fromEntries(sent.map(([name, value]) => [name, String(value)]));
    return await handler({ params, clientId: ctx.oidc.client?.clientId ?? '', proof, address: ctx.ip });
  } catch (err) {
    if (err instanceof KontextError && err.code === 'KX_RATE_LIMITED') {
      const body = { error: 'temporarily_unavailable', error_description: err.message };
      return { status: 429, body, headers: { 'retry-after': String(err.details.retry_after_seconds) } };
    }
    if (err instanceof KontextError && typeof err.details.oauth_error === 'string') {
      return { status: 400, body: { error: err.details.oauth_error, error_description: err.message } };
    }
    options.logger.error({ err }, 'a token exchange failed');
    return { status: 500, body: { error: 'server_error', error_description: 'the exchange failed' } };
  }
}

async function readProof(
  ctx: KoaContextWithOIDC,
  options: TokenExchangeGrantOptions,
): Promise<TokenExchangeHttpRequest['proof']> {
  const proof = ctx.get('DPoP');
  if (proof === '') return null;
  const nowMs = options.nowMs();
  const { jkt, jti } = await verifyDpopProof({
    proof,
    htm: 'POST',
    htu: `${issuerOf(options.apiUrl)}/token`,
    nowMs,
    isNonceValid: (nonce) => options.nonces.isValid(nonce, nowMs),
  });
  return { jkt, jti };
}
