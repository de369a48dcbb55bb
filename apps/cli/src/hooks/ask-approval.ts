/**
 * Asks a person, by way of the backend, whether one call may run, and waits for the answer.
 *
 * - Nothing but an answer of the backend that approves this very call is an approval: whatever fails, or nobody decides, is not.
 * - The wait ends with the budget; the question stays open, and a retry of the same call finds what became of it.
 * - It ends at once when the session does.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type ErrorCode, KontextError } from '@kontext/errors';
import type { ToolCall } from '@kontext/policy';
import type { ApprovalJson, ApprovalStateJson } from '@kontext/protocol';
import type { Calls } from '../rpc/calls.ts';
import { clipCall } from './clip-call.ts';

/** What a person is to look at, and how long it may take. */
export interface ApprovalQuestion {
  readonly calls: Pick<Calls, 'requestApproval' | 'waitApproval'>;
  readonly sessionId: string;
  /** Redacted already. */
  readonly call: ToolCall;
  /** HMAC-SHA256 with the session's own key over the unredacted call, 32 bytes. */
  readonly callHash: Uint8Array;
  /** The same over rule and shape, 32 bytes. */
  readonly shapeHash: Uint8Array;
  readonly rule: string;
  readonly policyVersion: number;
  /** The part that decided, in words. */
  readonly part: string;
  /** The agent's own id of the call. */
  readonly toolUseId?: string | undefined;
  /** Aborted when the session ends. */
  readonly signal: AbortSignal;
  /** Longest wait in milliseconds; default 180,000. */
  readonly budgetMs?: number;
}

/** What came of it. */
export type ApprovalOutcome =
  | { readonly kind: 'approved'; readonly approvalId: string }
  | { readonly kind: 'denied'; readonly approvalId: string; readonly reason: string }
  | { readonly kind: 'waiting'; readonly approvalId: string; readonly url: string }
  | { readonly kind: 'unavailable'; readonly why: string };

const defaultBudgetMs = 180_000;
/** Longest round of waiting; the backend answers at the latest then. */
const roundSeconds = 20;
/** What an answer may take beside the round itself. */
const graceMs = 5_000;
const retryMs = 1_000;
const maxPartLength = 4_096;
const maxToolUseIdLength = 256;
/** While it waits, a backend that is away for a moment ends nothing. */
const passing: ReadonlySet<ErrorCode> = new Set([
  'KX_BACKEND_UNREACHABLE',
  'KX_TEMPORARY',
  'KX_STORE_UNREACHABLE',
  'KX_RATE_LIMITED',
]);

/** Asks; never throws. */
export async function askApproval(question: ApprovalQuestion): Promise<ApprovalOutcome> {
  const until = performance.now() + (question.budgetMs ?? defaultBudgetMs);
  try {
    for (;;) {
      const asked = await request(question);
      const outcome = await waitFor(question, asked, until);
      // An identical call was faster and used it: this one asks again.
      if (outcome !== 'used') return outcome;
      if (performance.now() >= until)
        return { kind: 'unavailable', why: 'other calls used what was approved' };
    }
  } catch (error) {
    return { kind: 'unavailable', why: explain(error, question.signal) };
  }
}

async function request(question: ApprovalQuestion): Promise<ApprovalJson> {
  const { calls, sessionId, callHash, shapeHash, rule, policyVersion, part, toolUseId, signal } = question;
  const { text, clipped } = clipCall(question.call);
  const { approval } = await calls.requestApproval(
    {
      ...{ sessionId, rule, policyVersion: String(policyVersion), call: text, callClipped: clipped },
      callHash: Buffer.from(callHash).toString('base64'),
      shapeHash: Buffer.from(shapeHash).toString('base64'),
      part: storable(part, maxPartLength),
      toolUseId: storable(toolUseId ?? '', maxToolUseIdLength),
    },
    { signal },
  );
  return checkAnswer(approval);
}

async function waitFor(
  { calls, signal }: ApprovalQuestion,
  asked: ApprovalJson,
  until: number,
): Promise<ApprovalOutcome | 'used'> {
  let approval = asked;
  for (;;) {
    const approvalId = approval.id ?? '';
    const outcome = read(approval, approvalId);
    if (outcome !== 'pending') return outcome;
    const leftSeconds = Math.floor((until - performance.now()) / 1000);
    if (leftSeconds < 1) return { kind: 'waiting', approvalId, url: approval.url ?? '' };
    const waitSeconds = Math.min(roundSeconds, leftSeconds);
    approval = await waitRound(calls, { approvalId, waitSeconds }, approval, signal);
  }
}

async function waitRound(
  calls: ApprovalQuestion['calls'],
  { approvalId, waitSeconds }: { readonly approvalId: string; readonly waitSeconds: number },
  before: ApprovalJson,
  signal: AbortSignal,
): Promise<ApprovalJson> {
  try {
    const timeoutMs = waitSeconds * 1000 + graceMs;
    const answer = await calls.waitApproval({ approvalId, waitSeconds, use: true }, { timeoutMs, signal });
    return checkAnswer(answer.approval);
  } catch (error) {
    if (signal.aborted || !(error instanceof KontextError) || !passing.has(error.code)) throw error;
    await sleep(retryMs, undefined, { signal });
    return before;
  }
}

const known: Readonly<Partial<Record<ApprovalStateJson, 'pending' | 'approved' | 'used' | 'expired'>>> = {
  APPROVAL_STATE_PENDING: 'pending',
  APPROVAL_STATE_APPROVED: 'approved',
  APPROVAL_STATE_USED: 'used',
  APPROVAL_STATE_EXPIRED: 'expired',
};

function read(approval: ApprovalJson, approvalId: string): ApprovalOutcome | 'pending' | 'used' {
  switch (approval.state && known[approval.state]) {
    case 'pending':
      return 'pending';
    case 'used':
      return 'used';
    case 'approved':
      return { kind: 'approved', approvalId };
    case 'expired':
      return { kind: 'unavailable', why: 'nobody decided in time' };
    // What this version does not know is no approval.
    default:
      return { kind: 'denied', approvalId, reason: approval.decisionReason ?? '' };
  }
}

function checkAnswer(approval: ApprovalJson | undefined): ApprovalJson {
  if (approval?.id) return approval;
  throw new KontextError('KX_BACKEND_UNREACHABLE', 'the backend did not answer the question');
}

/** Postgres text holds no NUL, and the wire no lone surrogate. */
const storable = (text: string, maxLength: number): string =>
  text.slice(0, maxLength).replace(/\0|\p{Surrogate}/gu, '\ufffd');

function explain(error: unknown, signal: AbortSignal): string {
  if (signal.aborted) return 'the session ended';
  if (error instanceof KontextError) return `${error.message} (${error.code})`;
  return 'the backend could not be asked';
}
