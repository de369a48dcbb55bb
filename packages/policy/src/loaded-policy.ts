import { hashPolicies } from './hash-policies.ts';
import type { Cedar } from './load-cedar.ts';
import {
  annotationsOf,
  invalid,
  policyJson,
  policyMap,
  type RuleAnnotations,
  validatePolicies,
} from './parse-policies.ts';
import { boundKind, dependsOnResource } from './scan-policies.ts';
import type { CallPart, PolicySet, PolicyText } from './tool-call.ts';

/** Policies ready to decide with. Made by {@link PolicyEngine.load}; valid in the process that made it. */
export interface LoadedPolicy {
  readonly version: number;
  /** {@link hashPolicies} of the set, which is also the name Cedar keeps the parsed set under. */
  readonly hash: string;
  /** Text per rule id, in the order of the set. */
  readonly texts: ReadonlyMap<string, string>;
}

type PartKind = CallPart['kind'];

/** What is remembered of a loaded set, beside what its user sees. */
interface Prepared {
  /** Rules that say the same of every part of a call: asking them once is enough. */
  readonly whole: readonly PolicyText[];
  /** Rules that look at the part, with the only kind of part they can match; null: any. */
  readonly looking: readonly (PolicyText & { readonly kind: PartKind | 'none' | null })[];
  /** Names of the sets Cedar was given so far, by {@link setFor}'s question; null: there is nothing to ask. */
  readonly sets: Map<string, string | null>;
  /** Place of each rule in the set. */
  readonly order: ReadonlyMap<string, number>;
  /** Annotations read so far: most rules never decide. */
  readonly annotations: Map<string, RuleAnnotations>;
}

const preparedSets = new WeakMap<LoadedPolicy, Prepared>();

/** Parses a set once; see `PolicyEngine.load`. */
export function loadPolicies(
  cedar: Cedar,
  { version, policies }: PolicySet,
  validate: boolean,
): LoadedPolicy {
  const staticPolicies = policyMap(policies);
  if (validate) validatePolicies(cedar, policies);
  const hash = hashPolicies(policies);
  const answer = cedar.preparsePolicySet(hash, { staticPolicies });
  if (answer.type === 'failure') {
    for (const policy of policies) policyJson(cedar, policy);
    throw invalid('the policy', '', answer.errors[0]);
  }
  const loaded = { version, hash, texts: new Map(policies.map(({ id, text }) => [id, text])) };
  preparedSets.set(loaded, prepare(loaded));
  return loaded;
}

function prepare({ texts }: LoadedPolicy): Prepared {
  const policies = [...texts].map(([id, text]) => ({ id, text }));
  return {
    whole: policies.filter(({ text }) => !dependsOnResource(text)),
    looking: policies
      .filter(({ text }) => dependsOnResource(text))
      .map((policy) => ({ ...policy, kind: boundKind(policy.text) })),
    sets: new Map(),
    order: new Map(policies.map(({ id }, index) => [id, index])),
    annotations: new Map(),
  };
}

/**
 * Name of the set of rules to ask about one kind of part; null when there is none to ask. A rule whose head is about another
 * kind cannot match, and every evaluation costs as much as it has rules: so each kind has a set of its own, made when it is
 * first needed.
 *
 * @param withWhole Also the rules that say the same of every part.
 */
export function setFor(
  cedar: Cedar,
  loaded: LoadedPolicy,
  kind: PartKind,
  withWhole: boolean,
): string | null {
  const prepared = preparedSets.get(loaded);
  // Of a set that was not made here nothing is known: Cedar is asked, and does not know it either.
  if (prepared === undefined) return loaded.hash;
  const { sets, looking, whole } = prepared;
  const name = `${loaded.hash}.${kind}${withWhole ? '.whole' : ''}`;
  const known = sets.get(name);
  if (known !== undefined) return known;
  const own = looking.filter((rule) => rule.kind === null || rule.kind === kind);
  const rules = withWhole ? [...whole, ...own] : own;
  const made = rules.length === 0 ? null : prepareSet(cedar, loaded, name, rules);
  sets.set(name, made);
  return made;
}

/** Where Cedar refuses a part of a set that it took as a whole, the whole is asked. */
function prepareSet(cedar: Cedar, loaded: LoadedPolicy, name: string, rules: readonly PolicyText[]): string {
  if (rules.length === loaded.texts.size) return loaded.hash;
  const answer = cedar.preparsePolicySet(name, { staticPolicies: policyMap(rules) });
  return answer.type === 'success' ? name : loaded.hash;
}

/** Whether a rule says the same of every part. */
export const isWhole = (loaded: LoadedPolicy, id: string): boolean =>
  preparedSets.get(loaded)?.whole.some((rule) => rule.id === id) ?? false;

/** The rules of some ids, in the order of the set, with what they say beside their condition. */
export function rulesOf(cedar: Cedar, loaded: LoadedPolicy, ids: readonly string[]) {
  const prepared = preparedSets.get(loaded) ?? prepare(loaded);
  return ids
    .map((id) => ({ id, place: prepared.order.get(id) ?? -1 }))
    .filter(({ place }) => place >= 0)
    .sort((a, b) => a.place - b.place)
    .map(({ id }) => ({ id, ...annotationsOnce(cedar, loaded, prepared, id) }));
}

function annotationsOnce(cedar: Cedar, loaded: LoadedPolicy, { annotations }: Prepared, id: string) {
  const known = annotations.get(id);
  if (known) return known;
  const read = annotationsOf(cedar, { id, text: loaded.texts.get(id) ?? '' });
  annotations.set(id, read);
  return read;
}
