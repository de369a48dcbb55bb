import { ConnectError, type Interceptor, type StreamRequest, type UnaryRequest } from '@connectrpc/connect';
import { KontextError } from '@kontext/errors';
import { createDpopProof } from '@kontext/oauth';
import type { AccessTokens } from '../login/access-tokens.ts';
import { errorDetail, rpcError } from './rpc-error.ts';

/** What the interceptor learns on the way. */
export interface ServerClock {
  /** Server's clock minus ours at the last answer, in milliseconds; null before the first. */
  skewMs: number | null;
}

/** What a call is signed with. */
export interface DpopOptions {
  readonly tokens: AccessTokens;
  readonly apiUrl: string;
  readonly clock: ServerClock;
}

/** Beyond this a machine's clock is worth a word (proofs are judged within 60 s). */
export const maxSkewMs = 60_000;

/**
 * Signs every call with the login: `Authorization: DPoP` and a proof (RFC 9449 §7.1), and turns failures into
 * {@link KontextError}.
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
        return answer.stream ? { ...answer, message: explained(answer.message, options) } : answer;
      } catch (error) {
        const code = error instanceof ConnectError ? errorDetail(error)?.code : undefined;
        if (error instanceof ConnectError) listen(error.metadata);
        const mayRetry = code === 'KX_DPOP_NONCE_NEEDED' || code === 'KX_UNAUTHENTICATED';
        if (!mayRetry || retried.has(code) || req.stream)
          throw explain(rpcError(error, options.apiUrl), options.clock);
        retried.add(code);
        force = code === 'KX_UNAUTHENTICATED';
      }
    }
  };
}

/** The messages of a stream, with failures on the way turned into our errors. */
async function* explained<T>(messages: AsyncIterable<T>, { apiUrl, clock }: DpopOptions): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (error) {
    throw explain(rpcError(error, apiUrl), clock);
  }
}

/** A refusal by a backend whose clock is far from ours has that reason, whatever it says. */
function explain(error: Error, clock: ServerClock): Error {
  const codes = ['KX_UNAUTHENTICATED', 'KX_DPOP_NONCE_NEEDED'];
  if (!(error instanceof KontextError) || !codes.includes(error.code)) return error;
  const skewMs = clock.skewMs ?? 0;
  if (Math.abs(skewMs) <= maxSkewMs) return error;
  return new KontextError('KX_CLOCK_SKEW', 'the backend refuses the login because of the clock', {
    why: `this machine is ${Math.round(Math.abs(skewMs) / 1000)} s ${skewMs > 0 ? 'behind' : 'ahead of'} the backend`,
    details: { skew_ms: skewMs },
    cause: error,
  });
}
