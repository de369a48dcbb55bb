import type { DetailedError, PolicyJson } from '@cedar-policy/cedar-wasm/web';
import { KontextError } from '@kontext/errors';
import { basePermitId, basePermitText, cedarSchema } from './cedar-schema.ts';
import type { Cedar } from './load-cedar.ts';
import type { PolicyText } from './tool-call.ts';

const idShape = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const maxPolicies = 2000;
const maxTotalBytes = 1 << 20;
const maxReasonLength = 500;

/**
 * Splits a `.cedar` file into its policies, in the order of the file.
 *
 * @returns One entry per policy, named by its `@id("…")` annotation; comments before a policy are not part of it.
 * @throws KontextError `KX_POLICY_INVALID` when the text cannot be parsed, holds a template, or a policy has no id.
 */
export function splitPolicyFile(cedar: Cedar, text: string): readonly PolicyText[] {
  const answer = cedar.policySetTextToParts(text);
  if (answer.type === 'failure') throw invalid('the policy file', text, answer.errors[0]);
  if (answer.policy_templates.length > 0) throw invalid('the policy file', text, 'it holds a template');
  // Cedar sorts the parts by number as text ("10" before "2").
  const parts = [...answer.policies].sort((a, b) => text.indexOf(a) - text.indexOf(b));
  return parts.map((part) => {
    const id = policyJson(cedar, { id: 'a policy of the file', text: part }).annotations?.id;
    if (!id) throw invalid('a policy', part, `it has no @id("…"): ${part.slice(0, 60)}`);
    return { id, text: part };
  });
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
    if (!idShape.test(id))
      throw invalid(`the policy id ${JSON.stringify(id.slice(0, 140))}`, '', 'it is malformed');
    if (Object.hasOwn(map, id)) throw invalid(`the policy id ${id}`, '', 'it is used twice');
    // Cedar's bindings throw on text that is not Unicode.
    if (/\p{Surrogate}/u.test(text)) throw invalid(`the policy ${id}`, '', 'it is not valid Unicode');
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

/** Reads a rule's annotations. @throws KontextError `KX_POLICY_INVALID` for an effect nobody knows. */
export function annotationsOf(cedar: Cedar, policy: PolicyText): RuleAnnotations {
  const { annotations = {} } = policyJson(cedar, policy);
  const named = annotations.effect ?? 'deny';
  const effect = effects.find((known) => known === named);
  if (effect === undefined) {
    throw invalid(
      `the policy ${policy.id}`,
      '',
      `it has @effect("${named}"); known are ${effects.join(', ')}`,
    );
  }
  const reason = annotations.reason?.replace(/\s+/g, ' ').trim().slice(0, maxReasonLength);
  return {
    effect,
    reason: reason || `rule ${policy.id} ${effect === 'deny' ? 'forbids it' : 'wants it looked at'}`,
    approver: annotations.approver?.trim() || null,
    fourEyes: annotations.four_eyes === 'yes',
  };
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
  const before = Buffer.from(text).subarray(0, start).toString('utf8').split('\n');
  const line = before.length;
  const column = (before.at(-1)?.length ?? 0) + 1;
  const message = `${what}, line ${line} column ${column}: ${problem.message}`;
  return new KontextError('KX_POLICY_INVALID', message, { details: { line, column } });
}
