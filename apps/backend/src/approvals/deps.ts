import type { RuleReader } from '@kontext/policy';
import type { AppendSignal } from '../audit/append-signal.ts';
import type { RateLimiter } from '../login/rate-limiter.ts';
import type { Store } from '../store/store.ts';

/** What approvals need. */
export interface ApprovalDeps {
  readonly store: Store;
  readonly limiter: RateLimiter;
  readonly nowMs: () => number;
  /** Our own origin, for links. */
  readonly apiUrl: string;
  /** Wakes watchers of the audit log. */
  readonly appended: AppendSignal;
  /** Wakes whoever waits for an approval of this id, in this process. */
  readonly decided: AppendSignal;
  readonly loadRuleReader: () => Promise<RuleReader>;
}

/** Where a question is decided. */
export const approvalUrl = ({ apiUrl }: Pick<ApprovalDeps, 'apiUrl'>, id: string): string =>
  `${apiUrl}/approvals/${id}`;
