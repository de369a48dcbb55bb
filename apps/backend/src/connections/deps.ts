import type { Kms } from '@kontext/vault';
import type { AppendSignal } from '../audit/append-signal.ts';
import type { SafeFetch } from '../providers/safe-fetch.ts';
import type { Store } from '../store/store.ts';

/** What connections and the credentials made from them need from outside. */
export interface ConnectionDeps {
  readonly store: Store;
  /**
   * Where refreshes hold their row while the provider answers: on Postgres a pool of its own, so that a provider that hangs
   * takes no connection from anybody else. On PGlite the one store there is.
   */
  readonly refreshStore: Store;
  readonly kms: Kms;
  readonly fetch: SafeFetch;
  readonly nowMs: () => number;
  /** Our origin; callback URLs and connect links begin with it. */
  readonly apiUrl: string;
  /** Local mode: every new provider is attached to the built-in agents, and loopback http is allowed. */
  readonly local: boolean;
  readonly appended: AppendSignal;
  /** How long removing a provider waits for what it ends at the provider; default 15,000 ms. */
  readonly removePatienceMs?: number;
}
