/** How long answers of the hook server waited, over the last ones. */
export interface AnswerWaits {
  /** Notes one, in milliseconds from the connection to the reply. */
  note(waitMs: number): void;
  /** Milliseconds; null before there was an answer. */
  summary(): {
    readonly count: number;
    readonly p50Ms: number | null;
    readonly p99Ms: number | null;
    readonly maxMs: number | null;
  };
}

/** @param size Answers that are looked at; the oldest make room. Default 4,096. */
export function createAnswerWaits(size = 4096): AnswerWaits {
  const waits = new Float64Array(size);
  let count = 0;
  return {
    note(waitMs) {
      waits[count % size] = waitMs;
      count += 1;
    },
    summary() {
      const sorted = waits.slice(0, Math.min(count, size)).sort();
      const at = (share: number): number | null => {
        const value = sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
        return value === undefined ? null : Math.round(value * 1000) / 1000;
      };
      return { count, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
    },
  };
}
