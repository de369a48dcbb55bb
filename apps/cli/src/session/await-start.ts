/** Waits for an agent's first hooks. */
export interface StartWait {
  /** Whether the agent has called any hook. */
  readonly heard: boolean;
  /** Told of every event. */
  note(event: string): void;
  /** Begins to wait. @returns Stops waiting. */
  expect(on: StartExpectation): () => void;
}

/** What happens when hooks come, or do not. */
export interface StartExpectation {
  /** The first hook was called. */
  onFirst(): void;
  /** None was called within so long. */
  readonly warn: { readonly afterMs: number; warn(): void };
  /** The event that comes first in every run had not come by then. */
  readonly missing: { readonly afterMs: number; record(): void };
}

/** Makes the wait of one run. @param startEvent The event that comes first in every run. */
export function createStartWait(startEvent: string): StartWait {
  let heard = false;
  let begun = false;
  let stopped = false;
  let onFirst = (): void => undefined;
  return {
    get heard() {
      return heard;
    },
    note(event) {
      heard = true;
      begun ||= event === startEvent;
      onFirst();
    },
    expect({ onFirst: tell, warn, missing }) {
      const warning = setTimeout(warn.warn, warn.afterMs);
      // After a long turn the event may be here already: sockets are looked at first.
      const giveUp = () => setImmediate(() => stopped || begun || missing.record());
      const start = setTimeout(() => setImmediate(giveUp), missing.afterMs);
      onFirst = () => {
        clearTimeout(warning);
        onFirst = () => undefined;
        tell();
      };
      return () => {
        stopped = true;
        clearTimeout(warning);
        clearTimeout(start);
      };
    },
  };
}
