import { unauthenticated } from '@kontext/oauth';
import type { Callers, TokenClaim } from '../login/callers.ts';

const defaultIntervalMs = 1000;

/** Whose stream it is, and until when. */
export interface StreamOwner {
  readonly token: TokenClaim;
  readonly tokenExpiresAtMs: number;
}

/** What is needed to look. */
export interface StreamGuardParts {
  readonly callers: Pick<Callers, 'isTokenLive'>;
  readonly nowMs: () => number;
  /** How often to look; default 1,000 ms. */
  readonly livenessIntervalMs?: number;
}

/**
 * Passes a stream on for as long as its caller may have it: until the token expires, or it or its grant is revoked
 * (identity.md §5), looked at every second.
 *
 * @param fail Maps an error to what goes over the wire.
 */
export async function* boundStream<T>(
  messages: AsyncIterable<T>,
  caller: StreamOwner,
  parts: StreamGuardParts,
  fail: (error: unknown) => unknown,
): AsyncIterable<T> {
  const iterator = messages[Symbol.asyncIterator]();
  const guard = watchCaller(caller, parts);
  try {
    for (;;) {
      const result = await Promise.race([iterator.next(), guard.ended]);
      if (result.done === true) return;
      yield result.value;
    }
  } catch (error) {
    throw fail(error);
  } finally {
    guard.stop();
    // Not awaited: the source may be waiting for its next message, and hears of the end through its signal.
    void iterator.return?.()?.catch(() => undefined);
  }
}

function watchCaller(
  caller: StreamOwner,
  { callers, nowMs, livenessIntervalMs = defaultIntervalMs }: StreamGuardParts,
): { readonly ended: Promise<never>; stop(): void } {
  let timer: NodeJS.Timeout | undefined;
  const ended = new Promise<never>((_resolve, reject) => {
    const look = async (): Promise<void> => {
      if (nowMs() >= caller.tokenExpiresAtMs) {
        throw unauthenticated('invalid_token', 'RFC 9068 §4', 'the access token has expired');
      }
      if (!(await callers.isTokenLive(caller.token))) {
        throw unauthenticated('invalid_token', 'RFC 9068 §4', 'the login or the token was revoked');
      }
      timer?.refresh();
    };
    timer = setTimeout(() => void look().catch(reject), livenessIntervalMs);
    timer.unref();
  });
  // A stream that ends first leaves nobody to hear of this.
  ended.catch(() => undefined);
  return { ended, stop: () => clearTimeout(timer) };
}
