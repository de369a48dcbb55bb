import { KontextError } from '@kontext/errors';
import { createRuleReader, type PolicyText, type RuleReader } from '@kontext/policy';
import { findPoliciesInForce } from '../store/queries/approvals.ts';
import type { MemberRow } from '../store/queries/members.ts';
import type { SessionRow } from '../store/queries/sessions.ts';
import type { Tx } from '../store/tx.ts';

/** Who decides, and what they read: as the rule says it that asks. */
export interface AskingRule {
  readonly reason: string;
  /** Group or role; null: the session's own user. */
  readonly approver: string | null;
  readonly fourEyes: boolean;
}

/** A client decides by a snapshot for so long after it was replaced. */
const snapshotMs = 15 * 60_000;
/** Rules of the user's own policy directory, which the backend does not know. */
const localPrefix = 'local.';
const localRule: AskingRule = {
  reason: "a rule of the user's own policy directory asks",
  approver: null,
  fourEyes: false,
};

/**
 * Reads the rule that asks out of the policy version that held for the session: what the client says about it does not count,
 * and neither does a version that was only a draft, held for another group, or was replaced before the session began.
 *
 * A rule of the user's own directory (`local.…`) may ask its user only.
 *
 * @throws KontextError `KX_APPROVAL_RULE` when no rule of that name asks in that version.
 */
export async function findAskingRule(
  tx: Tx,
  read: RuleReader,
  session: Pick<SessionRow, 'startedAt'>,
  member: Pick<MemberRow, 'groups'>,
  { rule, policyVersion }: { readonly rule: string; readonly policyVersion: number },
): Promise<AskingRule> {
  const since = new Date(session.startedAt.getTime() - snapshotMs);
  const text = await findPoliciesInForce(tx, policyVersion, member.groups, since);
  const policies = text === null ? [] : (JSON.parse(text) as PolicyText[]);
  const found = policies.find(({ id }) => id === rule);
  if (found === undefined) {
    if (text !== null && rule.startsWith(localPrefix)) return localRule;
    throw unknownRule(
      text === null
        ? 'that policy version did not hold for this session'
        : 'that policy version has no such rule',
    );
  }
  const { effect, reason, approver, fourEyes } = read(found);
  if (effect !== 'ask') throw unknownRule('the rule does not ask');
  return { reason, approver, fourEyes };
}

/** A reader that is loaded when it is first needed: Cedar costs 20 ms and some memory. */
export function loadOnce(load: () => Promise<RuleReader> = createRuleReader): () => Promise<RuleReader> {
  let reader: Promise<RuleReader> | null = null;
  return () => {
    reader ??= load().catch((error: unknown) => {
      reader = null;
      throw error;
    });
    return reader;
  };
}

const unknownRule = (why: string): KontextError =>
  new KontextError('KX_APPROVAL_RULE', 'no rule asks for this approval', { why });
