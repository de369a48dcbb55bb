/**
 * Keeps the policy of a running session new: a change reaches it within seconds, and its age stays below what makes it stale.
 *
 * - WatchPolicy tells of every publication; a cut stream is opened again after a full-jitter back-off of 0.2 to 30 s, and a
 *   fresh snapshot is fetched first: what was missed meanwhile is in it.
 * - Heartbeats tell the same, later: for a backend that has no WatchPolicy, or a stream that looks alive and is not.
 * - A snapshot is fetched every four to five minutes besides; it lives for fifteen.
 * - A snapshot that does not verify is left: the one at hand was, and grows stale.
 */
import { KontextError } from '@kontext/errors';
import type { ActivePolicy } from '../hooks/active-policy.ts';
import type { Calls } from '../rpc/calls.ts';
import { type PolicyOwner, verifyPolicy } from './verify-policy.ts';

/** What the keeper works with. */
export interface PolicyKeeperOptions {
  readonly calls: Pick<Calls, 'getPolicySnapshot'>;
  /** Opens WatchPolicy. */
  readonly watch: (signal: AbortSignal) => AsyncIterable<{ readonly seq: bigint }>;
  readonly policy: ActivePolicy;
  readonly owner: PolicyOwner;
  /** Anything but the age of the policy has changed. */
  readonly onChange: () => void;
  /** Shorter in tests. Defaults: a snapshot every 300 s at the latest, a silent stream is cut after 60 s, 200 ms back-off. */
  readonly refreshMs?: number;
  readonly silenceMs?: number;
  readonly firstWaitMs?: number;
}

/** Keeps a policy new until it is stopped. */
export interface PolicyKeeper {
  start(): void;
  /** Somebody else heard of this publication; 0 says nothing. */
  noteSeq(seq: number): void;
  stop(): void;
}

const longestWaitMs = 30_000;

/** Makes the keeper; nothing happens before {@link PolicyKeeper.start}. */
export function createPolicyKeeper(options: PolicyKeeperOptions): PolicyKeeper {
  const { refreshMs = 300_000 } = options;
  const over = new AbortController();
  const refresher = createRefresher(options, over.signal);
  let timer: NodeJS.Timeout | undefined;
  const refreshLater = (): void => {
    clearTimeout(timer);
    timer = setTimeout(
      () => void refresher.refresh().then(refreshLater),
      refreshMs * (0.8 + 0.2 * Math.random()),
    ).unref();
    if (over.signal.aborted) clearTimeout(timer);
  };
  return {
    start() {
      refreshLater();
      void watchForever(options, refresher, over.signal);
    },
    noteSeq: refresher.noteSeq,
    stop() {
      over.abort();
      clearTimeout(timer);
    },
  };
}

/** Fetches snapshots, one at a time. */
interface Refresher {
  /** @returns Whether a snapshot was taken. */
  refresh(): Promise<boolean>;
  noteSeq(seq: number): void;
}

function createRefresher(options: PolicyKeeperOptions, over: AbortSignal): Refresher {
  const { calls, policy, owner, onChange } = options;
  let running: Promise<boolean> | null = null;
  // What was heard last, and what had been heard when the last snapshot was asked for.
  let heard = 0;
  let answered = 0;
  const fetchOnce = async (): Promise<boolean> => {
    const asked = heard;
    try {
      const { snapshot } = await calls.getPolicySnapshot({}, { signal: over });
      const next = await verifyPolicy(snapshot, owner);
      if (over.aborted) return false;
      answered = asked;
      if (policy.replace(next)) {
        onChange();
        await policy.warmUp(() => over.aborted);
      }
      return true;
    } catch {
      return false;
    }
  };
  const refresh = (): Promise<boolean> => {
    running ??= fetchOnce().finally(() => {
      running = null;
    });
    return running;
  };
  return {
    refresh,
    noteSeq(seq) {
      if (seq === 0 || over.aborted) return;
      heard = seq;
      const isKnown = (): boolean => heard === policy.seq || heard === answered;
      if (isKnown()) return;
      // What is on its way may have been signed before.
      void refresh().then((taken) => (taken && !isKnown() ? refresh() : taken));
    },
  };
}

async function watchForever(
  options: PolicyKeeperOptions,
  refresher: Refresher,
  over: AbortSignal,
): Promise<void> {
  const { firstWaitMs = 200 } = options;
  for (let failures = 0; !over.aborted; failures += 1) {
    // The session was opened with a snapshot just now; later ones may have been missed.
    if (failures === 0 || (await refresher.refresh())) {
      const startedAt = performance.now();
      const lost = await watchOnce(options, refresher, over);
      // A backend that does not know the call will not learn it while the session runs.
      if (lost instanceof KontextError && lost.code === 'KX_NOT_A_BACKEND') return;
      if (performance.now() - startedAt > longestWaitMs) failures = 0;
    }
    const ceiling = Math.min(longestWaitMs, firstWaitMs * 2 ** Math.min(failures, 10));
    await pause(Math.max(firstWaitMs, Math.random() * ceiling), over);
  }
}

/** @returns What ended the stream; undefined when its end was orderly. */
async function watchOnce(
  { watch, silenceMs = 60_000 }: PolicyKeeperOptions,
  refresher: Refresher,
  over: AbortSignal,
): Promise<unknown> {
  const cut = new AbortController();
  const end = (): void => cut.abort();
  over.addEventListener('abort', end, { once: true });
  // A stream that is alive says so every 20 s.
  const silence = setTimeout(end, silenceMs).unref();
  try {
    for await (const { seq } of watch(cut.signal)) {
      silence.refresh();
      refresher.noteSeq(Number(seq));
    }
    return undefined;
  } catch (error) {
    return error;
  } finally {
    clearTimeout(silence);
    over.removeEventListener('abort', end);
    end();
  }
}

const pause = (ms: number, over: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (over.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      over.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms).unref();
    over.addEventListener('abort', done, { once: true });
  });
