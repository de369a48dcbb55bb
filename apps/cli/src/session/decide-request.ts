import { setTimeout as sleep } from 'node:timers/promises';
import { type ErrorCode, KontextError } from '@kontext/errors';
import { type Approval, ApprovalLifetime, ApprovalState } from '@kontext/protocol';
import type { Context } from '../context.ts';
import { Interrupted } from '../interrupted.ts';
import { openBrowser } from '../login/open-browser.ts';
import type { Clients } from '../rpc/clients.ts';

/** What the person who typed the command means to do; the page marks its button, and they press it. */
export interface MeantDecision {
  readonly choose: 'once' | 'session' | 'hour' | 'deny';
  readonly reason: string;
}

const roundSeconds = 20;
const graceMs = 5_000;
const retryMs = 2_000;
/** A backend that is away for a moment ends no wait: the person may be deciding just now. */
const passing: ReadonlySet<ErrorCode> = new Set([
  'KX_BACKEND_UNREACHABLE',
  'KX_TEMPORARY',
  'KX_RATE_LIMITED',
]);

/**
 * Leads a person to the page where a request is decided, and waits until it is. Nothing is decided here: that takes a login at
 * the browser.
 *
 * @returns The request as it was decided.
 * @throws KontextError `KX_APPROVAL_OPEN` (77) at once without a terminal, unless `--wait-confirmation`; `KX_FORBIDDEN` when
 *   somebody else decides; `KX_APPROVAL_OVER` when it is decided or expired.
 */
export async function decideRequest(
  { config, terminal, signal }: Context,
  clients: Pick<Clients, 'approvals'>,
  id: string,
  meant: MeantDecision,
): Promise<Approval> {
  const { approval } = await clients.approvals.getApproval({ approvalId: id }, { signal });
  if (approval === undefined) throw new KontextError('KX_NOT_FOUND', 'there is no such request');
  if (approval.state !== ApprovalState.PENDING) throw over(approval);
  if (!approval.mineToDecide) throw notYours(approval);
  const url = linkOf(approval.url, meant);
  terminal.say(`${approval.agent} of ${approval.userName} asks: ${approval.part}`);
  terminal.say(`why it is asked: ${approval.reason} (${approval.rule})`);
  terminal.say(`open this link to decide: ${url}`);
  if (!terminal.interactive && !config.waitConfirmation) {
    throw new KontextError('KX_APPROVAL_OPEN', 'a person has to decide this in a browser', {
      why: 'there is no terminal to wait at',
      hint: 'open the link above, or run the command with --wait-confirmation',
      details: { url },
    });
  }
  if (terminal.interactive && config.hasDisplay) openBrowser(url, config);
  try {
    terminal.status('waiting for the decision …');
    return await waitDecided(clients, approval, signal);
  } catch (error) {
    if (signal.aborted) throw new Interrupted();
    throw error;
  } finally {
    terminal.status(null);
  }
}

async function waitDecided(
  clients: Pick<Clients, 'approvals'>,
  asked: Approval,
  signal: AbortSignal,
): Promise<Approval> {
  let approval = asked;
  while (approval.state === ApprovalState.PENDING) {
    approval = await waitRound(clients, approval, signal);
  }
  if (approval.state === ApprovalState.EXPIRED) throw over(approval);
  return approval;
}

async function waitRound(
  clients: Pick<Clients, 'approvals'>,
  before: Approval,
  signal: AbortSignal,
): Promise<Approval> {
  try {
    const round = { approvalId: before.id, waitSeconds: roundSeconds };
    const options = { timeoutMs: roundSeconds * 1000 + graceMs, signal };
    return (await clients.approvals.waitApproval(round, options)).approval ?? before;
  } catch (error) {
    if (signal.aborted || !(error instanceof KontextError) || !passing.has(error.code)) throw error;
    await sleep(retryMs, undefined, { signal });
    return before;
  }
}

function linkOf(url: string, { choose, reason }: MeantDecision): string {
  const link = new URL(url);
  link.searchParams.set('choose', choose);
  if (reason !== '') link.searchParams.set('reason', reason);
  return link.href;
}

const over = (approval: Approval): KontextError =>
  new KontextError('KX_APPROVAL_OVER', `there is nothing to decide about ${approval.id}`, {
    why:
      approval.state === ApprovalState.EXPIRED
        ? 'nobody decided in time, or its session ended'
        : `it is ${requestStates[approval.state] ?? 'decided'}`,
  });

function notYours({ approver, fourEyes, userName }: Approval): KontextError {
  const who = approver === '' ? userName : approver;
  return new KontextError('KX_FORBIDDEN', 'this request is not yours to decide', {
    why: `${who} decides it${fourEyes ? `, and not ${userName}` : ''}`,
    hint: 'send them the link of `kontext requests ls --json`',
  });
}

/** Words for states. */
export const requestStates: Readonly<Partial<Record<ApprovalState, string>>> = {
  [ApprovalState.PENDING]: 'pending',
  [ApprovalState.APPROVED]: 'approved',
  [ApprovalState.DENIED]: 'denied',
  [ApprovalState.USED]: 'used',
  [ApprovalState.EXPIRED]: 'expired',
};

/** Words for how long an approval holds. */
export const requestLifetimes: Readonly<Partial<Record<ApprovalLifetime, string>>> = {
  [ApprovalLifetime.ONCE]: 'once',
  [ApprovalLifetime.SESSION]: 'session',
  [ApprovalLifetime.HOUR]: 'hour',
};

/** Says what was decided. @returns Whether the call was allowed. */
export function sayDecision({ terminal }: Pick<Context, 'terminal'>, approval: Approval): boolean {
  const isAllowed = approval.state === ApprovalState.APPROVED || approval.state === ApprovalState.USED;
  const lifetime = requestLifetimes[approval.lifetime];
  const who = approval.decidedByName === '' ? '' : ` by ${approval.decidedByName}`;
  terminal.note(isAllowed ? `allowed${lifetime ? ` (${lifetime})` : ''}${who}` : `denied${who}`);
  return isAllowed;
}
