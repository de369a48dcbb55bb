import { ConnectError, type Interceptor, type StreamRequest, type UnaryRequest } from '@connectrpc/connect';
import { createDpopProof } from '@kontext/oauth';
import type { AccessTokens } from '../login/access-tokens.ts';
import { errorDetail, type ServerClock } from './rpc-error.ts';

/** What a call is signed with. */
export interface DpopOptions {
  readonly tokens: AccessTokens;
  /** Told of each answer. */
  readonly clock: ServerClock;
}

/**
 * Signs every call with the login: `Authorization: DPoP` and a proof (RFC 9449 §7.1).
 *
 * A call is repeated once when the backend asks for its nonce (§9), and once with a fresh token when it refuses the
 * one at hand. The newest nonce goes into every later proof, so a wrong clock costs one extra round trip per run.
 * A stream reports refusals after it has begun and is not repeated: make a unary call first.
 */
export function createDpopInterceptor(options: DpopOptions): Interceptor {
  let nonce: string | undefined;
  const listen = (headers: Headers) => {
    nonce = headers.get('dpop-nonce') ?? nonce;
    const date = Date.parse(headers.get('date') ?? '');
    if (!Number.isNaN(date)) options.clock.skewMs = date - Date.now();
  };
  const sign = async (req: UnaryRequest | StreamRequest, force: boolean) => {
    const token = (await options.tokens.get(force)).reveal();
    const key = options.tokens.login.jwk;
    const proof = { key, htm: req.requestMethod, htu: req.url, accessToken: token, nonce, nowMs: Date.now() };
    req.header.set('authorization', `DPoP ${token}`);
    req.header.set('dpop', await createDpopProof(proof));
  };
  return (next) => async (req) => {
    const retried = new Set<string>();
    let force = false;
    for (;;) {
      try {
        await sign(req, force);
        const answer = await next(req);
        listen(answer.header);
        return answer;
      } catch (error) {
        const code = error instanceof ConnectError ? errorDetail(error)?.code : undefined;
        if (error instanceof ConnectError) listen(error.metadata);
        const mayRetry = code === 'KX_DPOP_NONCE_NEEDED' || code === 'KX_UNAUTHENTICATED';
        if (!mayRetry || retried.has(code) || req.stream) throw error;
        retried.add(code);
        force = code === 'KX_UNAUTHENTICATED';
      }
    }
  };
}
