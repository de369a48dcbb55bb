import type { Kms } from '@kontext/vault';
import type { AppendSignal } from '../audit/append-signal.ts';
import type { RateLimiter } from '../login/rate-limiter.ts';
import type { SafeFetch } from '../providers/safe-fetch.ts';
import type { Store } from '../store/store.ts';

/** What webhooks and sinks need. */
export interface SenderDeps {
  readonly store: Store;
  readonly kms: Kms;
  readonly fetch: SafeFetch;
  readonly limiter: RateLimiter;
  readonly nowMs: () => number;
  /** Local mode: http to loopback is let through. */
  readonly local: boolean;
  readonly appended: AppendSignal;
  /** 0 to below 1; default `Math.random`. Only spreads attempts. */
  readonly random?: () => number;
}
