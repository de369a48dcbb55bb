import type { DetailedError, PolicyJson } from '@cedar-policy/cedar-wasm/web';
import { KontextError } from '@kontext/errors';
import { basePermitId, basePermitText, cedarSchema } from './cedar-schema.ts';
import { oneLine } from './describe-part.ts';
import { type FindingCheck, placeOf } from './finding.ts';
import type { Cedar } from './load-cedar.ts';
import { parseSources } from './parse-sources.ts';
import { isRuleId, maxPolicies, maxTotalBytes } from './policy-limits.ts';
import { depthOf, maxDepth } from './scan-policies.ts';
import type { PolicyText } from './tool-call.ts';

const maxReasonLength = 500;

/**
 * Splits a `.cedar` file into its policies, in the order of the file.
 *
 * @returns One entry per policy, named by its `@id("…")` annotation; comments before a policy are not part of it.
 * @throws KontextError `KX_POLICY_INVALID` when the text cannot be parsed, holds a template, or a policy has no id.
 */
export function splitPolicyFile(cedar: Cedar, text: string): readonly PolicyText[] {
  const { policies, findings } = parseSources(cedar, [{ name: 'policy.cedar', text }]);
  const [first] = findings;
  if (!first) return policies;
  const { line, column } = first;
  const message = `the policy file, line ${line} column ${column}: ${first.message}`;
  throw new KontextError('KX_POLICY_INVALID', message, { details: { line, column } });
}

/**
 * Checks ids and sizes and adds the base permit.
 *
 * @returns The policies as the map Cedar wants, with our ids: `@id` annotations are not in its answers.
 * @throws KontextError `KX_POLICY_INVALID`.
 */
export function policyMap(policies: readonly PolicyText[]): Record<string, string> {
  if (policies.length > maxPolicies) throw invalid('the policy', '', `it has more than ${maxPolicies} rules`);
  const bytes = policies.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
  if (bytes > maxTotalBytes) throw invalid('the policy', '', 'it is larger than 1 MiB');
  const map: Record<string, string> = { [basePermitId]: basePermitText };
  for (const { id, text } of policies) {
    if (!isRuleId(id) && id !== basePermitId)
      throw invalid(`the policy id ${JSON.stringify(id.slice(0, 140))}`, '', 'it is malformed');
    if (Object.hasOwn(map, id)) throw invalid(`the policy id ${id}`, '', 'it is used twice');
    // Cedar's bindings throw on text that is not Unicode.
    if (/\p{Surrogate}/u.test(text)) throw invalid(`the policy ${id}`, '', 'it is not valid Unicode');
    if (depthOf(text) > maxDepth)
      throw invalid(`the policy ${id}`, '', 'its conditions are nested or chained too deeply');
    map[id] = text;
  }
  return map;
}

/**
 * Checks policies against the schema, so that none can fail when it is evaluated.
 *
 * @throws KontextError `KX_POLICY_INVALID` naming the first policy that does not fit.
 */
export function validatePolicies(cedar: Cedar, policies: readonly PolicyText[]): void {
  const staticPolicies = policyMap(policies);
  // One by one first: an error over the whole set does not say where it is.
  for (const policy of policies) annotationsOf(cedar, policy);
  const answer = cedar.validate({ schema: cedarSchema, policies: { staticPolicies } });
  if (answer.type === 'failure') throw invalid('the policy', '', answer.errors[0]);
  const first = answer.validationErrors[0];
  if (first) throw invalid(`the policy ${first.policyId}`, staticPolicies[first.policyId] ?? '', first.error);
}

/**
 * Parses one policy.
 *
 * @throws KontextError `KX_POLICY_INVALID` with line and column.
 */
export function policyJson(cedar: Cedar, { id, text }: PolicyText): PolicyJson {
  const answer = cedar.policyToJson(text);
  if (answer.type === 'failure') throw invalid(`the policy ${id}`, text, answer.errors[0]);
  return answer.json;
}

/** What a rule says beside its condition. */
export interface RuleAnnotations {
  /** `@effect`: what it does where it matches; `deny` unless it says otherwise. */
  readonly effect: 'deny' | 'ask' | 'sensitive';
  /** `@reason`: what a person reads, one line; else made from the id. */
  readonly reason: string;
  /** `@approver`: group or role; null when it names none. */
  readonly approver: string | null;
  /** `@four_eyes("yes")`. */
  readonly fourEyes: boolean;
}

const effects = ['deny', 'ask', 'sensitive'] as const;

/**
 * Reads a rule's annotations.
 *
 * @throws KontextError `KX_POLICY_INVALID` for an effect nobody knows, an empty approver, four eyes of which none can look.
 */
export function annotationsOf(cedar: Cedar, policy: PolicyText): RuleAnnotations {
  const { annotations = {} } = policyJson(cedar, policy);
  const [problem] = annotationProblems(annotations);
  if (problem) throw invalid(`the policy ${policy.id}`, '', problem.message);
  const effect = effects.find((known) => known === annotations.effect) ?? 'deny';
  const reason = oneLine(annotations.reason ?? '', maxReasonLength);
  return {
    effect,
    reason: reason || `rule ${policy.id} ${effect === 'deny' ? 'forbids it' : 'wants it looked at'}`,
    approver: annotations.approver?.trim() || null,
    fourEyes: annotations.four_eyes === 'yes',
  };
}

/** Why annotations cannot be obeyed; empty when they can. Where the text has `@name` without a value, it is null here. */
export function annotationProblems(
  annotations: Readonly<Record<string, string | null>>,
): readonly { readonly check: FindingCheck; readonly message: string }[] {
  const { effect, approver, four_eyes: fourEyes } = annotations;
  const problems: { check: FindingCheck; message: string }[] = [];
  if (effect !== undefined && !effects.some((known) => known === effect)) {
    const message = `it has @effect("${effect ?? ''}"); known are ${effects.join(', ')}`;
    problems.push({ check: 'unknown-effect', message });
  }
  if (approver !== undefined && !approver?.trim())
    problems.push({ check: 'empty-approver', message: 'its @approver names nobody' });
  if (fourEyes !== undefined && fourEyes !== 'yes' && fourEyes !== 'no')
    problems.push({ check: 'bad-four-eyes', message: 'its @four_eyes is neither "yes" nor "no"' });
  if (fourEyes === 'yes' && !approver?.trim())
    problems.push({
      check: 'four-eyes-without-approver',
      message: 'it has @four_eyes("yes") and no @approver, so nobody could approve',
    });
  return problems;
}

/** The error for a policy: what Cedar says, and where, counted from 1 in the text of that policy. */
export function invalid(
  what: string,
  text: string,
  problem: DetailedError | string | undefined,
): KontextError {
  if (typeof problem !== 'object')
    return new KontextError('KX_POLICY_INVALID', `${what}: ${problem ?? 'unknown'}`);
  const start = problem.sourceLocations?.[0]?.start;
  if (start === undefined || text === '')
    return new KontextError('KX_POLICY_INVALID', `${what}: ${problem.message}`);
  // Cedar counts bytes of UTF-8.
  const { line, column } = placeOf(text, Buffer.from(text).subarray(0, start).toString('utf8').length);
  const message = `${what}, line ${line} column ${column}: ${problem.message}`;
  return new KontextError('KX_POLICY_INVALID', message, { details: { line, column } });
}
