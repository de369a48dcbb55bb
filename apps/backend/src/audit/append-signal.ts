import { EventEmitter } from 'node:events';

/** Wakes watchers of this process when this process stored events; other replicas are found by polling. */
export interface AppendSignal {
  notify(orgId: string): void;
  /** Resolves on the next `notify` for the organisation, after `timeoutMs`, or when `signal` is aborted; never rejects. */
  wait(orgId: string, timeoutMs: number, signal: AbortSignal): Promise<void>;
}

/** Creates the signal; one per process. */
export function createAppendSignal(): AppendSignal {
  const emitter = new EventEmitter();
  emitter.setMaxListeners(0);
  return {
    notify: (orgId) => void emitter.emit(orgId),
    wait: (orgId, timeoutMs, signal) =>
      new Promise((resolve) => {
        const done = () => {
          clearTimeout(timer);
          emitter.off(orgId, done);
          signal.removeEventListener('abort', done);
          resolve();
        };
        const timer = setTimeout(done, timeoutMs);
        emitter.once(orgId, done);
        signal.addEventListener('abort', done, { once: true });
        if (signal.aborted) done();
      }),
  };
}
