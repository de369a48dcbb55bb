import { KontextError } from '@kontext/errors';
import { createRuleReader, type PolicyText, type RuleReader } from '@kontext/policy';
import type { MemberRow } from '../store/queries/members.ts';
import { findVersion } from '../store/queries/policies.ts';
import { listPublicationsInForce, type PublicationInForce } from '../store/queries/publications-in-force.ts';
import type { Tx } from '../store/tx.ts';

/** Who decides, and what they read: as the rule says it that asks. */
export interface AskingRule {
  readonly reason: string;
  /** Group or role; null: the session's own user. */
  readonly approver: string | null;
  readonly fourEyes: boolean;
}

/** Whose organisation and which groups decide what holds. */
interface AskingMember extends Pick<MemberRow, 'groups'> {
  readonly orgId: string;
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
 * Reads the rule that asks out of the policy version that holds for the user: what the client says about it does not count,
 * and neither does a version that was only a draft, holds for another group, or was replaced longer ago than a snapshot lives.
 *
 * A rule of the user's own directory (`local.…`) may ask its user only.
 *
 * @throws KontextError `KX_APPROVAL_RULE` when no rule of that name asks in that version.
 */
export async function findAskingRule(
  tx: Tx,
  read: RuleReader,
  { orgId, groups }: AskingMember,
  { rule, policyVersion }: { readonly rule: string; readonly policyVersion: number },
  now: Date,
): Promise<AskingRule> {
  const since = new Date(now.getTime() - snapshotMs);
  const publications = await listPublicationsInForce(tx, orgId, groups, since);
  const holds = versionsInForce(publications, since).has(policyVersion);
  const text = holds ? ((await findVersion(tx, orgId, policyVersion))?.policies ?? null) : null;
  const policies = text === null ? [] : (JSON.parse(text) as PolicyText[]);
  const found = policies.find(({ id }) => id === rule);
  if (found === undefined) {
    if (text !== null && rule.startsWith(localPrefix)) return localRule;
    throw unknownRule(
      text === null
        ? 'that policy version does not hold for this session'
        : 'that policy version has no such rule',
    );
  }
  const { effect, reason, approver, fourEyes } = read(found);
  if (effect !== 'ask') throw unknownRule('the rule does not ask');
  return { reason, approver, fourEyes };
}

/**
 * Versions that held for somebody at some time since an instant, as `policies/holding.ts` chooses: the newest of their groups,
 * else that of everybody.
 *
 * @param publications Of everybody and of their groups, in order.
 */
function versionsInForce(publications: readonly PublicationInForce[], since: Date): ReadonlySet<number> {
  const newest = new Map<string, PublicationInForce>();
  const versions = new Set<number>();
  const note = () => {
    const held = [...newest.values()].filter(({ withdrawn }) => !withdrawn);
    const ofGroups = held.filter(({ groupName }) => groupName !== '').sort((a, b) => b.seq - a.seq);
    const chosen = ofGroups[0] ?? held[0];
    if (chosen !== undefined) versions.add(chosen.version);
  };
  for (const one of publications) {
    if (one.createdAt >= since) note();
    newest.set(one.groupName, one);
  }
  note();
  return versions;
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
