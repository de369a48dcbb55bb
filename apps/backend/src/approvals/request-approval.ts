import { createId, headerLimits } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { withoutSecrets } from '../audit/withhold-payloads.ts';
import type { Caller } from '../caller.ts';
import { type RateLimit, refuseBeyond } from '../login/rate-limiter.ts';
import { type ApprovalRow, insertApproval, useApprovalFor } from '../store/queries/approvals.ts';
import { findMember } from '../store/queries/members.ts';
import { findApproval, findStandingApproval, type NamedApproval } from '../store/queries/named-approvals.ts';
import { lockSession, type SessionRow } from '../store/queries/sessions.ts';
import type { Tx } from '../store/tx.ts';
import { queueMessages } from '../webhooks/queue-messages.ts';
import { approvalMessage } from './approval-message.ts';
import { type AskingRule, findAskingRule } from './asking-rule.ts';
import { type ApprovalDeps, approvalUrl } from './deps.ts';
import { questionFacts, recordApprovals } from './record-approval.ts';

/** What a hook server wants a person to look at. */
export interface ApprovalWanted {
  readonly sessionId: string;
  /** Keyed hashes, 32 bytes each. */
  readonly callHash: Uint8Array;
  readonly shapeHash: Uint8Array;
  /** JSON of a `ToolCall`, redacted. */
  readonly call: string;
  readonly callClipped: boolean;
  readonly toolUseId: string;
  readonly rule: string;
  readonly policyVersion: number;
  readonly part: string;
}

/** What became of it. `usable`: the call may go on, and what held once is used up by this. */
export interface ApprovalAnswer extends NamedApproval {
  readonly usable: boolean;
}

/** How long a question is open, and for how long an approval that holds once can be used. */
export const openMs = 15 * 60_000;
/** Questions of one session, and of one person's sessions: more would only tire whoever decides. */
const askedInSession: RateLimit = { name: 'approval-session', limit: 30, windowSeconds: 600 };
const askedByUser: RateLimit = { name: 'approval-user', limit: 60, windowSeconds: 600 };
const limits = { callBytes: 64 * 1024, part: 4096 } as const;

/**
 * Asks about one call, or finds what was said about it: an approval that covers it, which this uses; an open question; a
 * refusal within its time. Only where there is none of these a person is asked anew.
 *
 * @throws KontextError `KX_NOT_FOUND` unless the session is the caller's own, `KX_SESSION_ENDED` when it does not live,
 *   `KX_APPROVAL_RULE` when no rule asks, `KX_RATE_LIMITED`, `KX_REQUEST_INVALID`.
 */
export async function requestApproval(
  deps: ApprovalDeps,
  caller: Caller,
  wanted: ApprovalWanted,
): Promise<ApprovalAnswer> {
  const shown = checkWanted(wanted);
  const read = await deps.loadRuleReader();
  const readRule = async (tx: Tx, now: Date) => {
    const member = await findMember(tx, caller.userId);
    if (member === null) throw notYours();
    const asker = { orgId: caller.orgId, groups: member.groups };
    return { member, rule: await findAskingRule(tx, read, asker, wanted, now) };
  };
  const known = await inSession(deps, caller, wanted, async (tx, session, now) =>
    findKnown(tx, session, wanted, (await readRule(tx, now)).rule, now),
  );
  if (known !== null) return known;
  refuseBeyond(await deps.limiter.count(askedInSession, wanted.sessionId), 'this session asked too often');
  refuseBeyond(await deps.limiter.count(askedByUser, caller.userId), 'too many approvals were asked for');
  return inSession(deps, caller, wanted, async (tx, session, now) => {
    const { member, rule } = await readRule(tx, now);
    // Somebody may have asked the same in between.
    const found = await findKnown(tx, session, wanted, rule, now);
    if (found !== null) return found;
    const row = makeRow(session, wanted, shown, rule, now);
    await insertApproval(tx, row);
    await recordApprovals(tx, 'approval.requested', [row], questionFacts, now);
    const question = { approval: row, userName: member.userName, deciderName: null };
    const message = approvalMessage(question, approvalUrl(deps, row.id));
    await queueMessages(tx, row.orgId, 'approval.requested', message, now);
    return { ...question, usable: false };
  });
}

/** Works in a live session of the caller, which is locked: what is asked about it is asked one after the other. */
async function inSession<T>(
  { store, nowMs, appended }: ApprovalDeps,
  { orgId, userId }: Caller,
  { sessionId }: Pick<ApprovalWanted, 'sessionId'>,
  work: (tx: Tx, session: SessionRow, now: Date) => Promise<T>,
): Promise<T> {
  const done = await store.transaction({ role: 'app', orgId }, async (tx) => {
    const session = await lockSession(tx, sessionId);
    if (session === null || session.userId !== userId) throw notYours();
    if (session.state !== 'live') {
      throw new KontextError('KX_SESSION_ENDED', 'the session does not live, nothing is asked for it');
    }
    return work(tx, session, new Date(nowMs()));
  });
  appended.notify(orgId);
  return done;
}

async function findKnown(
  tx: Tx,
  { id: sessionId, orgId }: SessionRow,
  wanted: ApprovalWanted,
  { approver, fourEyes }: AskingRule,
  now: Date,
): Promise<ApprovalAnswer | null> {
  const asked = { sessionId, rule: wanted.rule, approver, fourEyes, ...hashesOf(wanted) };
  const used = await useApprovalFor(tx, asked, now);
  if (used !== null) {
    await recordApprovals(tx, 'approval.used', [used], () => useFacts(wanted.toolUseId), now);
    const named = await findApproval(tx, orgId, used.id);
    return named && { ...named, usable: true };
  }
  const standing = await findStandingApproval(tx, asked, now);
  return standing && { ...standing, usable: false };
}

/** Which call used it, as the agent names it; null where it names none. */
export const useFacts = (toolUseId: string | null) => ({
  usedBy: toolUseId?.slice(0, headerLimits.toolUse) || null,
});

const hashesOf = ({ callHash, shapeHash }: ApprovalWanted) => ({
  callHash: Buffer.from(callHash).toString('base64url'),
  shapeHash: Buffer.from(shapeHash).toString('base64url'),
});

function makeRow(
  session: SessionRow,
  wanted: ApprovalWanted,
  { tool }: ShownCall,
  rule: AskingRule,
  now: Date,
): ApprovalRow {
  const { orgId, userId, agent, hostname } = session;
  return {
    id: createId('apr', now.getTime()),
    ...{ orgId, sessionId: session.id, userId, agent, hostname, tool },
    ...hashesOf(wanted),
    toolUseId: wanted.toolUseId || null,
    ...{ part: withoutSecrets(wanted.part), call: wanted.call, callClipped: wanted.callClipped },
    ...{ rule: wanted.rule, policyVersion: wanted.policyVersion, ...rule },
    ...{ state: 'pending', lifetime: null, decidedBy: null, decisionReason: '', acr: null },
    ...{ createdAt: now, expiresAt: new Date(now.getTime() + openMs), decidedAt: null, usedAt: null },
  };
}

interface ShownCall {
  readonly tool: string;
}

/** @throws KontextError `KX_REQUEST_INVALID`. */
function checkWanted(wanted: ApprovalWanted): ShownCall {
  const { callHash, shapeHash, call, part, rule, toolUseId, policyVersion } = wanted;
  if (callHash.length !== 32 || shapeHash.length !== 32) throw invalid('call_hash', 'hashes have 32 bytes');
  if (Buffer.byteLength(call) > limits.callBytes) throw invalid('call', 'it is larger than 64 KiB');
  if (part.length > limits.part) throw invalid('part', `it is longer than ${limits.part} characters`);
  if (rule === '' || rule.length > headerLimits.rule) throw invalid('rule', 'it is empty, or too long');
  if (toolUseId.length > headerLimits.toolUse) throw invalid('tool_use_id', 'it is too long');
  if (!Number.isSafeInteger(policyVersion) || policyVersion < 0)
    throw invalid('policy_version', 'it is none');
  // Postgres text cannot hold NUL, and the header of an event no lone surrogate.
  if ([call, part, rule, toolUseId].some((text) => /\0|\p{Surrogate}/u.test(text))) {
    throw invalid('text', 'it holds NUL, or is not Unicode');
  }
  return parseShown(call);
}

function parseShown(call: string): ShownCall {
  try {
    const value: unknown = JSON.parse(call);
    if (typeof value === 'object' && value !== null && 'schema' in value && value.schema === 2) {
      const tool = 'tool' in value && typeof value.tool === 'string' ? value.tool : '';
      return { tool: tool.replace(/\0|\p{Surrogate}/gu, '\ufffd').slice(0, headerLimits.tool) };
    }
  } catch {
    // Said below.
  }
  throw invalid('call', 'it is no tool call of schema 2');
}

const invalid = (field: string, why: string): KontextError =>
  new KontextError('KX_REQUEST_INVALID', `the field ${field} cannot be used`, { why });

const notYours = (): KontextError =>
  new KontextError('KX_NOT_FOUND', 'there is no such session, or it is not yours');
