import type { Store } from '../../store/store.ts';
import type { AppendSignal } from '../append-signal.ts';

/** What the work on payloads needs. */
export interface PayloadDeps {
  readonly store: Store;
  readonly appended: AppendSignal;
  readonly nowMs: () => number;
}
