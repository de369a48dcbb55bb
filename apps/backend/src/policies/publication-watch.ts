import { findNewestSeq } from '../store/queries/policies.ts';
import type { Store } from '../store/store.ts';

/** Follows publications. */
export interface PublicationWatch {
  /**
   * Numbers of the organisation's newest publication: the one of now at once, each later one when it is there, and the same
   * again as a keep-alive. Ends when `signal` is aborted.
   *
   * @throws Whatever the store throws while it is asked: the watcher asks again.
   */
  watch(orgId: string, signal: AbortSignal, options?: WatchOptions): AsyncGenerator<number>;
}

/** How a watch works. */
export interface WatchOptions {
  /** Between two looks; default 1,000 ms. */
  readonly pollMs?: number;
  /** The same number again after so long; default 20,000 ms. */
  readonly keepAliveMs?: number;
}

const defaultPollMs = 1000;
const defaultKeepAliveMs = 20_000;

/** Looks once per organisation and turn, however many watch. */
export function createPublicationWatch(store: Store): PublicationWatch {
  const looks = new Map<string, Promise<number>>();
  /** The look that is under way; the first one of an organisation sees what was committed before it was asked for. */
  const look = (orgId: string): Promise<number> => {
    const running = looks.get(orgId);
    if (running) return running;
    const started = store
      .single({ role: 'read', orgId }, (tx) => findNewestSeq(tx, orgId))
      .finally(() => looks.delete(orgId));
    looks.set(orgId, started);
    return started;
  };
  /** Watchers of one organisation wake together: their next look is one. */
  const wait = (ms: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms - (Date.now() % ms));
      signal.addEventListener('abort', done, { once: true });
      if (signal.aborted) done();
    });
  return {
    watch: async function* (orgId, signal, options = {}) {
      const { pollMs = defaultPollMs, keepAliveMs = defaultKeepAliveMs } = options;
      let sent = -1;
      let silentMs = 0;
      while (!signal.aborted) {
        const seq = await look(orgId);
        if (seq !== sent || silentMs >= keepAliveMs) {
          yield seq;
          sent = seq;
          silentMs = 0;
        }
        await wait(pollMs, signal);
        silentMs += pollMs;
      }
    },
  };
}
