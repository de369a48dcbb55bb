import { createDpopProof } from '@kontext/oauth';
import type { AccessTokens } from '../login/access-tokens.ts';
import type { ServerClock } from './server-clock.ts';

/** What calls are signed with. */
export interface CallSignerOptions {
  readonly tokens: AccessTokens;
  /** Told of each answer. */
  readonly clock: ServerClock;
}

/** The headers that authenticate one call. */
export interface ProofHeaders {
  readonly authorization: string;
  readonly dpop: string;
}

/** One call to be sent. */
export interface SignedCall<T> {
  readonly method: string;
  readonly url: string;
  /** False: a refusal is final. */
  readonly mayRepeat: boolean;
  /** Sends it once; throws what it failed with. */
  readonly send: (headers: ProofHeaders) => Promise<T>;
  /** Our code of an error that {@link SignedCall.send} threw, undefined when it has none. */
  readonly codeOf: (error: unknown) => string | undefined;
}

/** Signs every call with the login: `Authorization: DPoP` and a proof (RFC 9449 §7.1). */
export interface CallSigner {
  /**
   * Sends a call. It is repeated once when the backend asks for its nonce (§9), and once with a fresh token when the
   * backend refuses the one at hand.
   */
  send<T>(call: SignedCall<T>): Promise<T>;
  /** Takes nonce and time out of an answer's headers. @param header Reads one by its lower-case name. */
  listen(header: (name: string) => string | null | undefined): void;
}

/**
 * Makes the signer of one backend. The newest nonce goes into every later proof, so a wrong clock costs one extra round
 * trip per run.
 */
export function createCallSigner({ tokens, clock }: CallSignerOptions): CallSigner {
  let nonce: string | undefined;
  const sign = async (htm: string, htu: string, force: boolean): Promise<ProofHeaders> => {
    const token = (await tokens.get(force)).reveal();
    const proof = { key: tokens.login.jwk, htm, htu, accessToken: token, nonce, nowMs: Date.now() };
    return { authorization: `DPoP ${token}`, dpop: await createDpopProof(proof) };
  };
  return {
    listen(header) {
      nonce = header('dpop-nonce') ?? nonce;
      const date = Date.parse(header('date') ?? '');
      if (!Number.isNaN(date)) clock.skewMs = date - Date.now();
    },
    async send({ method, url, mayRepeat, send, codeOf }) {
      const retried = new Set<string>();
      let force = false;
      for (;;) {
        const headers = await sign(method, url, force);
        try {
          return await send(headers);
        } catch (error) {
          const code = codeOf(error);
          const isRefusal = code === 'KX_DPOP_NONCE_NEEDED' || code === 'KX_UNAUTHENTICATED';
          if (!isRefusal || retried.has(code) || !mayRepeat) throw error;
          retried.add(code);
          force = code === 'KX_UNAUTHENTICATED';
        }
      }
    },
  };
}
