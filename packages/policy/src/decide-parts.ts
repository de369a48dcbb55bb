import type { AuthorizationAnswer } from '@cedar-policy/cedar-wasm/web';
import { maxParts } from './call-world.ts';
import { cedarRequests } from './cedar-request.ts';
import { basePermitId } from './cedar-schema.ts';
import { describePart, oneLine } from './describe-part.ts';
import type { Cedar } from './load-cedar.ts';
import { hasRulesFor, isWhole, type LoadedPolicy, rulesOf, setFor } from './loaded-policy.ts';
import { createFactsReader } from './request-facts.ts';
import { rankOf } from './rule-rank.ts';
import type { SessionRequest } from './session-request.ts';
import type { Decision, ToolCall } from './tool-call.ts';

/** A decision before it is known by which version and in which mode. */
export type Verdict = Omit<Decision, 'policyVersion' | 'mode'>;

/**
 * Judges the parts in order; the worst verdict is that of the call. Nothing outdoes the first deny.
 *
 * Two approvers wanted for one call, by two parts or two rules, deny: one person's approval must not stand for another's.
 */
export function decideParts(cedar: Cedar, loaded: LoadedPolicy, call: ToolCall): Verdict {
  // A call without parts would be allowed for want of a question; one with any number of them would take any time.
  if (call.parts.length === 0) return failed('the call has no parts');
  if (call.parts.length > maxParts) return failed(`the call has more than ${maxParts} parts`);
  const [first] = call.parts;
  const requests = cedarRequests(call, loaded.hash);
  let worst: Verdict = noObjection;
  // The rules about the whole call are asked with the first part that is asked about at all; at the latest with the first one.
  let withWhole = true;
  const asked = requests.filter(({ part }) => hasRulesFor(loaded, part.kind));
  const factsOf = createFactsReader();
  for (const { part, request } of asked.length > 0 ? asked : requests.slice(0, 1)) {
    const facts = () => factsOf(request);
    const preparsedPolicySetId = setFor(cedar, loaded, { kind: part.kind, withWhole, facts });
    withWhole = false;
    if (preparsedPolicySetId === null) continue;
    const answer = cedar.statefulIsAuthorized({ ...request, preparsedPolicySetId });
    const named = (id: string) => describePart(isWhole(loaded, id) && first ? first : part);
    worst = worseOf(worst, read(cedar, answer, loaded, named));
    if (worst.effect === 'deny') break;
  }
  return worst;
}

/** Decides about something that has no parts. */
export function decideOne(cedar: Cedar, loaded: LoadedPolicy, { request, subject }: SessionRequest): Verdict {
  return read(cedar, cedar.statefulIsAuthorized(request), loaded, () => subject);
}

/** Decides where nobody can be asked: what would be asked is denied. */
export function decideUnasked(cedar: Cedar, loaded: LoadedPolicy, asked: SessionRequest): Verdict {
  const verdict = decideOne(cedar, loaded, asked);
  return verdict.effect === 'ask' ? { ...verdict, effect: 'deny', approver: null, fourEyes: false } : verdict;
}

const noObjection: Verdict = {
  effect: 'allow',
  rule: null,
  reason: 'no rule forbids it',
  part: null,
  approver: null,
  fourEyes: false,
  sensitive: false,
  failure: null,
};

/** The verdict when something went wrong. */
export const failed = (failure: string): Verdict => ({
  ...noObjection,
  effect: 'deny',
  reason: 'the policy could not be evaluated',
  failure: oneLine(failure, 500),
});

function worseOf(before: Verdict, next: Verdict): Verdict {
  const approvers = [before, next].map(({ effect, approver }) => (effect === 'ask' ? approver : null));
  if (approvers[0] && approvers[1] && approvers[0] !== approvers[1]) {
    const reason = `its parts need different approvers (${approvers.join(', ')}); make each a call of its own`;
    return { ...next, effect: 'deny', reason, approver: null, fourEyes: false };
  }
  const worse = rank(next) > rank(before) ? next : before;
  return { ...worse, sensitive: before.sensitive || next.sensitive };
}

const rank = (verdict: Verdict): number =>
  verdict.failure !== null ? 9 : verdict.effect === 'allow' ? (verdict.sensitive ? 1 : 0) : rankOf(verdict);

function read(
  cedar: Cedar,
  answer: AuthorizationAnswer,
  loaded: LoadedPolicy,
  describe: (rule: string) => string,
): Verdict {
  if (answer.type === 'failure') return failed(answer.errors[0]?.message ?? 'unknown');
  const { decision, diagnostics } = answer.response;
  const [error] = diagnostics.errors;
  if (error) return failed(`policy ${error.policyId}: ${error.error.message}`);
  if (decision === 'allow') return noObjection;
  // Cedar gives the rules that match in no order: of those with the worst effect the first of the set is named.
  const rules = rulesOf(cedar, loaded, diagnostics.reason);
  const worst = Math.max(...rules.map(rankOf));
  const rule = rules.find((candidate) => rankOf(candidate) === worst);
  // A deny that no rule made means that the base permit did not apply, which cannot be.
  if (!rule) return failed(`${basePermitId} did not apply`);
  const asks = rule.effect === 'ask';
  const verdict: Verdict = {
    effect: rule.effect === 'sensitive' ? 'allow' : rule.effect,
    rule: rule.id,
    reason: rule.reason,
    part: describe(rule.id),
    approver: asks ? rule.approver : null,
    fourEyes: asks && rule.fourEyes,
    sensitive: rules.some(({ effect }) => effect === 'sensitive'),
    failure: null,
  };
  const other = rules.find(
    ({ effect, approver }) => effect === 'ask' && approver && approver !== rule.approver,
  );
  if (!asks || other === undefined) return verdict;
  const approvers = `${rule.approver}, ${other.approver}`;
  const reason = `rules ${rule.id} and ${other.id} need different approvers (${approvers}); no one of them can approve it`;
  return { ...verdict, effect: 'deny', reason, approver: null, fourEyes: false };
}
