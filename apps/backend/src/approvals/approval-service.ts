import { createAppendSignal } from '../audit/append-signal.ts';
import type { Caller } from '../caller.ts';
import type { BrowserAccount } from '../login/browser-sessions.ts';
import type { ApprovalRow } from '../store/queries/approvals.ts';
import type { ApprovalFilter, NamedApproval } from '../store/queries/named-approvals.ts';
import { loadOnce } from './asking-rule.ts';
import { decide, type ShownApproval, showApproval, type Verdict } from './decide-approval.ts';
import { type ApprovalDeps, approvalUrl } from './deps.ts';
import { sweepApprovals } from './expire-approvals.ts';
import { mayDecide } from './may-decide.ts';
import { type ApprovalAnswer, type ApprovalWanted, requestApproval } from './request-approval.ts';
import {
  type ApprovalCaller,
  type ApprovalPage,
  getApproval,
  listApprovalsOf,
  viewerOf,
  type Waiting,
  waitApproval,
} from './wait-approval.ts';

export type { ApprovalAnswer, ApprovalCaller, NamedApproval, ShownApproval, Verdict };

/** Approvals as their edges use them. What each function refuses is said where it is written. */
export interface ApprovalService {
  request(caller: Caller, wanted: ApprovalWanted): Promise<ApprovalAnswer>;
  wait(caller: ApprovalCaller, id: string, waiting: Waiting): Promise<ApprovalAnswer>;
  get(caller: ApprovalCaller, id: string): Promise<NamedApproval>;
  list(
    caller: ApprovalCaller,
    filter: ApprovalFilter,
    page: { readonly before: string | null; readonly limit: number },
  ): Promise<ApprovalPage>;
  /** Whether the caller may decide it, at this moment. */
  mayDecide(caller: ApprovalCaller, approval: ApprovalRow): boolean;
  /** Where it is decided. */
  urlOf(id: string): string;
  show(opener: BrowserAccount, id: string): Promise<ShownApproval>;
  decide(opener: BrowserAccount, id: string, verdict: Verdict, reason: string): Promise<ApprovalRow>;
  /** Ends what is over; call it every few seconds. */
  sweep(): Promise<void>;
}

/** Puts the approvals together. */
export function createApprovalService(
  given: Omit<ApprovalDeps, 'decided' | 'loadRuleReader'> & Partial<Pick<ApprovalDeps, 'decided'>>,
): ApprovalService {
  const deps: ApprovalDeps = { decided: createAppendSignal(), ...given, loadRuleReader: loadOnce() };
  return {
    request: (caller, wanted) => requestApproval(deps, caller, wanted),
    wait: (caller, id, waiting) => waitApproval(deps, caller, id, waiting),
    get: (caller, id) => getApproval(deps, caller, id),
    list: (caller, filter, page) => listApprovalsOf(deps, caller, filter, page),
    mayDecide: (caller, approval) => mayDecide(approval, viewerOf(caller)),
    urlOf: (id) => approvalUrl(deps, id),
    show: (opener, id) => showApproval(deps, opener, id),
    decide: (opener, id, verdict, reason) => decide(deps, opener, id, verdict, reason),
    sweep: async () => void (await sweepApprovals(deps)),
  };
}
