/** Makes written lines durable in groups. */
export interface GroupSync {
  /** A line was written. */
  note(): void;
  /** Syncs now; resolves when everything written before the call was tried. */
  sync(): Promise<void>;
  /** No timer fires any more. */
  stop(): void;
}

/**
 * Syncs 100 ms after the first line, or at once with the hundredth.
 *
 * @param sync Makes durable what was written before it began; tried again after a second when it fails.
 */
export function createGroupSync(
  sync: () => Promise<void>,
  { everyMs = 100, everyLines = 100, retryMs = 1000 } = {},
): GroupSync {
  let timer: NodeJS.Timeout | null = null;
  let lines = 0;
  let running = Promise.resolve();
  const later = (ms: number): void => {
    timer ??= setTimeout(() => void run(), ms);
  };
  const stop = (): void => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
  };
  const run = (): Promise<void> => {
    stop();
    lines = 0;
    running = running.then(sync).catch(() => later(retryMs));
    return running;
  };
  return {
    note() {
      lines += 1;
      if (lines >= everyLines) void run();
      else later(everyMs);
    },
    sync: run,
    stop,
  };
}
