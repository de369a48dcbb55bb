import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import {
  type Approval,
  ApprovalLifetime,
  ApprovalSchema,
  ApprovalService,
  ApprovalState,
} from '@kontext/protocol';
import type {
  ApprovalAnswer,
  ApprovalCaller,
  ApprovalService as Approvals,
  NamedApproval,
} from '../approvals/approval-service.ts';
import { callerOf } from './authenticate.ts';
import type { RpcRoutes } from './router.ts';
import { toSafeNumber } from './safe-number.ts';

const states = {
  pending: ApprovalState.PENDING,
  approved: ApprovalState.APPROVED,
  denied: ApprovalState.DENIED,
  used: ApprovalState.USED,
  expired: ApprovalState.EXPIRED,
} as const;

const lifetimes = {
  once: ApprovalLifetime.ONCE,
  session: ApprovalLifetime.SESSION,
  hour: ApprovalLifetime.HOUR,
} as const;

/** Seconds. */
const defaultWait = 20;
const longestWait = 25;

/** The edge of `approvals/`: wire in, wire out. There is no way to decide here. */
export const approvalRoutes =
  (approvals: Approvals): RpcRoutes =>
  (router) => {
    const show = (caller: ApprovalCaller, named: NamedApproval) => toMessage(approvals, caller, named);
    const answer = (caller: ApprovalCaller, { usable, ...named }: ApprovalAnswer) => {
      const approval = show(caller, named);
      // What was used up by this very call was approved for it; what somebody else used is no approval of this call.
      if (usable) approval.state = ApprovalState.APPROVED;
      return { approval };
    };
    return router.service(ApprovalService, {
      requestApproval: async (request, context) => {
        const caller = callerOf(context);
        const { sessionId, callHash, shapeHash, call, callClipped, toolUseId, rule, part } = request;
        const policyVersion = toSafeNumber('policy_version', request.policyVersion);
        const wanted = { sessionId, callHash, shapeHash, call, callClipped, toolUseId, rule, part };
        return answer(caller, await approvals.request(caller, { ...wanted, policyVersion }));
      },
      waitApproval: async ({ approvalId, waitSeconds, use }, context) => {
        const caller = callerOf(context);
        const waitMs = checkWait(waitSeconds) * 1000;
        const waiting = { waitMs, use, signal: context.signal };
        return answer(caller, await approvals.wait(caller, checkId(approvalId), waiting));
      },
      listApprovals: async ({ pending, mineToDecide, pageSize, pageToken }, context) => {
        const caller = callerOf(context);
        const limit = pageSize === 0 ? 50 : pageSize;
        if (limit < 1 || limit > 200) throw invalid('page_size must be 1 to 200');
        if (pageToken !== '' && !isId('apr', pageToken)) throw invalid('page_token is not one of ours');
        const page = { before: pageToken || null, limit };
        const found = await approvals.list(caller, { pending, mineToDecide }, page);
        return {
          approvals: found.approvals.map((named) => show(caller, named)),
          nextPageToken: found.next ?? '',
        };
      },
      getApproval: async ({ approvalId }, context) => {
        const caller = callerOf(context);
        return { approval: show(caller, await approvals.get(caller, checkId(approvalId))) };
      },
    });
  };

function toMessage(
  approvals: Approvals,
  caller: ApprovalCaller,
  { approval, userName, deciderName }: NamedApproval,
): Approval {
  const { id, sessionId, userId, agent, hostname, tool, part, rule, reason, fourEyes, decidedAt } = approval;
  return create(ApprovalSchema, {
    ...{ id, sessionId, userId, userName, agent, hostname, tool, part, rule, reason, fourEyes },
    state: states[approval.state],
    policyVersion: BigInt(approval.policyVersion),
    approver: approval.approver ?? '',
    createdAt: timestampFromDate(approval.createdAt),
    expiresAt: timestampFromDate(approval.expiresAt),
    ...(decidedAt ? { decidedAt: timestampFromDate(decidedAt) } : {}),
    decidedByName: deciderName ?? '',
    lifetime: approval.lifetime ? lifetimes[approval.lifetime] : ApprovalLifetime.UNSPECIFIED,
    decisionReason: approval.decisionReason,
    url: approvals.urlOf(id),
    mineToDecide: approval.state === 'pending' && approvals.mayDecide(caller, approval),
  });
}

function checkWait(seconds: number): number {
  if (seconds === 0) return defaultWait;
  if (seconds >= 1 && seconds <= longestWait) return seconds;
  throw invalid(`wait_seconds must be 1 to ${longestWait}`);
}

function checkId(id: string): string {
  if (isId('apr', id)) return id;
  throw new KontextError('KX_NOT_FOUND', 'there is no such request, or it is not yours');
}

const invalid = (message: string): KontextError => new KontextError('KX_REQUEST_INVALID', message);
