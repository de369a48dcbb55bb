/** Work that has time until answers are out. */
export interface TurnQueue {
  /** Does it in a later turn of the event loop, in the order in which it was given. It must not throw. */
  add(work: () => void): void;
  /** Does all that waits now. */
  drain(): void;
}

/**
 * Makes a queue that does one thing a turn: between two turns the event loop looks at its connections, so that a client that
 * has come in the meantime waits for one thing at most.
 *
 * @param maxWaiting Beyond so many, more are done in a turn: under a load that never ends records must not pile up. Default 64.
 */
export function createTurnQueue(maxWaiting = 64): TurnQueue {
  const waiting: (() => void)[] = [];
  let isSet = false;
  const set = (): void => {
    if (isSet || waiting.length === 0) return;
    isSet = true;
    setImmediate(turn);
  };
  const turn = (): void => {
    isSet = false;
    do waiting.shift()?.();
    while (waiting.length > maxWaiting);
    set();
  };
  return {
    add(work) {
      waiting.push(work);
      set();
    },
    drain() {
      while (waiting.length > 0) waiting.shift()?.();
    },
  };
}
