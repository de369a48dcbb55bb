/** How long each provider connection is left in peace after failures; per process. */
export interface RetryPauses {
  /** Whole seconds left, 0 when it may be tried. */
  left(id: string): number;
  /** Notes a failure. @param atLeastSeconds What the provider asked for; 0 when it did not. */
  add(id: string, atLeastSeconds: number): void;
  clear(id: string): void;
}

const firstMs = 1_000;
const longestMs = 30_000;
const maxTracked = 10_000;

/** Creates the pauses: 1 s after the first failure in a row, doubled up to 30 s, or what the provider asked for. */
export function createRetryPauses(nowMs: () => number): RetryPauses {
  const failures = new Map<string, { untilMs: number; count: number }>();
  return {
    left: (id) => Math.max(0, Math.ceil(((failures.get(id)?.untilMs ?? 0) - nowMs()) / 1000)),
    add: (id, atLeastSeconds) => {
      const count = (failures.get(id)?.count ?? 0) + 1;
      const pauseMs = Math.max(Math.min(firstMs * 2 ** (count - 1), longestMs), atLeastSeconds * 1000);
      failures.delete(id);
      failures.set(id, { untilMs: nowMs() + pauseMs, count });
      const oldest = failures.size > maxTracked ? failures.keys().next().value : undefined;
      if (oldest !== undefined) failures.delete(oldest);
    },
    clear: (id) => void failures.delete(id),
  };
}
