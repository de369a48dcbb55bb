import type { ValidationError } from '@cedar-policy/cedar-wasm/web';
import { basePermitId, basePermitText, cedarSchema } from './cedar-schema.ts';
import { oneLine } from './describe-part.ts';
import { type Finding, type FindingCheck, placeOf } from './finding.ts';
import { failureRisks } from './lint-failures.ts';
import { oddLiterals } from './lint-literals.ts';
import { shadowedRules } from './lint-reach.ts';
import type { Cedar } from './load-cedar.ts';
import { annotationProblems, annotationsOf } from './parse-policies.ts';
import { type LocatedPolicy, locatePolicies, offsetOf, type SourceFile } from './parse-sources.ts';
import { conditionsOf, entityOf, type Node, nodesOf } from './rule-expression.ts';
import { rankOf } from './rule-rank.ts';

/** What one check says of one rule, before its place is known. */
interface Remark {
  readonly error: boolean;
  readonly check: FindingCheck;
  readonly message: string;
  readonly hint: string;
  /** Offset in the file; default: where the rule begins. */
  readonly offset?: number;
}

/** Lints files; see `PolicyEngine.lint`. */
export function lintSources(cedar: Cedar, files: readonly SourceFile[]): readonly Finding[] {
  const { policies, findings } = locatePolicies(cedar, files);
  const rules = policies.map((policy) => ({ policy, conditions: conditionsOf(policy.json) }));
  const validated = validate(cedar, policies);
  const shadowed = shadows(cedar, rules);
  const remarked = rules.flatMap(({ policy, conditions }) =>
    [
      ...(validated.get(policy.id) ?? []),
      ...annotationRemarks(policy),
      ...effectRemarks(policy, conditions),
      ...conditionRemarks(conditions),
      ...(shadowed.get(policy.id) ?? []),
    ].map((remark) => locate(policy, remark)),
  );
  const place = new Map(files.map(({ name }, index) => [name, index]));
  const fileOf = (finding: Finding) => place.get(finding.file) ?? files.length;
  return [...findings, ...remarked].sort(
    (a, b) => fileOf(a) - fileOf(b) || a.line - b.line || a.column - b.column,
  );
}

const locate = (policy: LocatedPolicy, { offset = policy.start, message, ...remark }: Remark): Finding => ({
  ...remark,
  message: oneLine(message, 500),
  ...{ file: policy.file.name, ...placeOf(policy.file.text, offset), rule: policy.id },
});

/** What Cedar's validator says, by rule: errors; warnings only of rules without any. */
function validate(cedar: Cedar, policies: readonly LocatedPolicy[]): ReadonlyMap<string, readonly Remark[]> {
  const byId = new Map(policies.map((policy) => [policy.id, policy]));
  const texts = Object.fromEntries(policies.map(({ id, text }) => [id, text]));
  const staticPolicies = { ...texts, [basePermitId]: basePermitText };
  const answer = cedar.validate({ schema: cedarSchema, policies: { staticPolicies } });
  const remarks = new Map<string, Remark[]>();
  if (answer.type === 'failure') return remarks;
  const add = ({ policyId }: ValidationError, remark: Remark) => {
    const already = remarks.get(policyId) ?? [];
    // The same place fails once for each kind of resource or action.
    if (already.some(({ check, offset }) => check === remark.check && offset === remark.offset)) return;
    remarks.set(policyId, [...already, remark]);
  };
  for (const problem of answer.validationErrors) {
    const policy = byId.get(problem.policyId);
    if (policy) add(problem, invalidRemark(policy, problem));
  }
  const invalid = new Set(remarks.keys());
  for (const problem of answer.validationWarnings)
    if (byId.has(problem.policyId) && !invalid.has(problem.policyId)) add(problem, warningRemark(problem));
  return remarks;
}

const withoutName = ({ policyId, error }: ValidationError): string =>
  error.message.replace(`for policy \`${policyId}\`, `, '');

const invalidRemark = (policy: LocatedPolicy, problem: ValidationError): Remark => ({
  ...{ error: true, check: 'invalid', message: withoutName(problem) },
  hint:
    problem.error.help ??
    'the schema is in docs/policy.md; an attribute not every resource has needs "resource is …"',
  offset: offsetOf(policy, problem.error),
});

/** Cedar gives its warnings no code; of these two it is known what they are about. */
function warningRemark(problem: ValidationError): Remark {
  const message = withoutName(problem);
  const isHead = message.includes('applicable action');
  if (!isHead && !message.includes('impossible')) {
    return { error: false, check: 'odd-text', message, hint: problem.error.help ?? 'make sure it is meant' };
  }
  return {
    ...{ error: false, check: 'never-applies', message: 'no request can ever satisfy it' },
    hint: 'see which resources and attributes each action has; a resource is of one kind only',
  };
}

const knownAnnotations = ['id', 'effect', 'reason', 'approver', 'four_eyes'];

function annotationRemarks({ json, id }: LocatedPolicy): readonly Remark[] {
  const annotations: Readonly<Record<string, string | null>> = json.annotations ?? {};
  const remarks: Remark[] = annotationProblems(annotations).map(({ check, message }) => ({
    ...{ error: true, check, message },
    hint: 'see the annotations in docs/policy.md',
  }));
  const warn = (check: FindingCheck, message: string, hint: string) =>
    remarks.push({ error: false, check, message, hint });
  for (const name of Object.keys(annotations))
    if (!knownAnnotations.includes(name))
      warn('unknown-annotation', `@${name} means nothing here`, `known are @${knownAnnotations.join(', @')}`);
  if (annotations.effect === 'ask' && !annotations.reason?.trim())
    warn('ask-without-reason', `whoever is asked reads only "rule ${id}"`, 'say in @reason what to look at');
  if (annotations.effect !== 'ask' && (annotations.approver !== undefined || annotations.four_eyes === 'yes'))
    warn(
      'useless-approver',
      'nobody is asked, so that nobody approves',
      'add @effect("ask"), or take it away',
    );
  return remarks;
}

function effectRemarks({ json }: LocatedPolicy, conditions: readonly Node[]): readonly Remark[] {
  if (json.effect === 'permit') {
    const hint =
      'everything is allowed unless a rule forbids it; write what is forbidden, with exceptions as "unless"';
    return [{ error: false, check: 'no-effect', message: 'a permit changes nothing', hint }];
  }
  const effect = json.annotations?.effect ?? 'deny';
  const isAlways = conditions.every(
    ({ args: [subject] }) => subject?.op === 'var' && subject.name === 'action',
  );
  if (effect === 'deny' && isAlways) {
    const message = 'it has no condition, so it denies everything its action is about';
    return [{ error: false, check: 'denies-everything', message, hint: 'say when, or for which resource' }];
  }
  if (effect !== 'ask' || !actionsOf(conditions).includes('session_start')) return [];
  const message = 'nobody can be asked about the start of a session: there it denies';
  return [
    { error: false, check: 'nobody-to-ask', message, hint: 'narrow it to action == Action::"tool_call"' },
  ];
}

const allActions = ['tool_call', 'credential_use', 'session_start'];

function actionsOf(conditions: readonly Node[]): readonly string[] {
  const head = conditions.find(
    ({ op, args: [subject] }) => subject?.name === 'action' && (op === '==' || op === 'in'),
  );
  if (!head) return allActions;
  return [...nodesOf(head)].flatMap((node) => entityOf(node)?.id ?? []);
}

const conditionRemarks = (conditions: readonly Node[]): readonly Remark[] => [
  ...failureRisks(conditions).map(({ certain, message }) => ({
    ...{ error: certain, check: 'may-fail' as const, message },
    hint: 'a rule that fails to evaluate denies every call it looks at; write it so that it cannot',
  })),
  ...oddLiterals(conditions).map((message) => ({
    ...{
      error: false,
      check: 'never-matches' as const,
      message,
      hint: 'see docs/policy.md for what each value can be',
    },
  })),
];

function shadows(cedar: Cedar, rules: readonly { policy: LocatedPolicy; conditions: readonly Node[] }[]) {
  const forbids = rules.flatMap(({ policy, conditions }) =>
    policy.json.effect === 'forbid' && annotationProblems(policy.json.annotations ?? {}).length === 0
      ? [{ id: policy.id, rank: rankOf(annotationsOf(cedar, policy)), conditions }]
      : [],
  );
  return new Map(
    [...shadowedRules(forbids)].map(([id, other]): [string, readonly Remark[]] => [
      id,
      [
        {
          ...{ error: false, check: 'shadowed', message: `wherever it matches, ${other} decides instead` },
          hint: 'take it away, or narrow the other one',
        },
      ],
    ]),
  );
}
