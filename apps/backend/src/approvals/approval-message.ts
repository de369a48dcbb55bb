import type { NamedApproval } from '../store/queries/named-approvals.ts';
import { clippedPart } from './record-approval.ts';

/**
 * What a webhook is told of an approval: who, which rule, and where to decide. Never the whole call: it can hold what a
 * channel of a chat should not keep.
 *
 * `text` is one line for chats, escaped as Slack wants it (`&`, `<`, `>`), so that no agent can name a channel or hide a link.
 */
export function approvalMessage(
  { approval, userName, deciderName }: NamedApproval,
  url: string,
): Readonly<Record<string, unknown>> {
  const { id, state, sessionId, agent, tool, rule, policyVersion, approver, fourEyes, lifetime } = approval;
  const part = oneLine(clippedPart(approval.part));
  const question = `${agent} of ${userName} asks: ${part} (${approval.reason})`;
  const decided = `${deciderName ?? 'somebody'} ${state === 'denied' ? 'denied' : 'approved'}: ${part}`;
  return {
    text: `${escapeChat(oneLine(state === 'pending' ? question : decided))} ${url}`,
    data: {
      ...{ approval: id, state, url, session: sessionId, user: userName, agent, tool: oneLine(tool) },
      ...{ part, rule, policyVersion, reason: approval.reason, approver, fourEyes, lifetime },
      decidedBy: deciderName,
      decisionReason: oneLine(approval.decisionReason),
      createdAt: approval.createdAt.toISOString(),
      expiresAt: approval.expiresAt.toISOString(),
    },
  };
}

/** Control, bidi and other invisible characters would change what a person sees. */
const oneLine = (text: string): string => text.replace(/[\p{C}\p{Z}]+/gu, ' ').trim();

const escapeChat = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
