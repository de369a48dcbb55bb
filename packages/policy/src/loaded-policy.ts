import { compileMiss, type Misses } from './compile-miss.ts';
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
import type { RequestFacts } from './request-facts.ts';
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

/** A rule that is asked about the parts of calls. */
interface PreparedRule extends PolicyText {
  /** It says the same of every part of a call: asking it once is enough. */
  readonly isWhole: boolean;
  /** The only kind of part it can match; null: any. */
  readonly kind: PartKind | 'none' | null;
  /** Tells requests it surely does not match; null until the rule was studied. */
  misses: Misses | null;
}

/** What is remembered of a loaded set, beside what its user sees. */
interface Prepared {
  readonly rules: readonly PreparedRule[];
  /** Rules that are about one kind of part, by {@link setFor}'s question. */
  readonly about: Map<string, readonly PreparedRule[]>;
  /** Names of the sets Cedar was given so far, by the places of their rules. */
  readonly sets: Map<string, string>;
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
  const rules = [...texts].map(([id, text]) => {
    const isWhole = !dependsOnResource(text);
    return { id, text, isWhole, kind: isWhole ? null : boundKind(text), misses: null };
  });
  return {
    rules,
    about: new Map(),
    sets: new Map(),
    order: new Map(rules.map(({ id }, index) => [id, index])),
    annotations: new Map(),
  };
}

/**
 * Studies the next rule, so that {@link setFor} can leave it out where it surely does not match. A few milliseconds; nothing
 * depends on it but the time that decisions take.
 *
 * @returns Whether there are more.
 */
export function studyNext(cedar: Cedar, loaded: LoadedPolicy): boolean {
  const rule = preparedSets.get(loaded)?.rules.find(({ misses }) => misses === null);
  if (rule === undefined) return false;
  try {
    rule.misses = compileMiss(policyJson(cedar, rule));
  } catch {
    rule.misses = () => false;
  }
  return true;
}

/** Whether there are rules that look at parts of this kind. */
export function hasRulesFor(loaded: LoadedPolicy, kind: PartKind): boolean {
  const prepared = preparedSets.get(loaded);
  return prepared === undefined || rulesAbout(prepared, kind, false).length > 0;
}

/** A rule whose head is about another kind of part cannot match. */
function rulesAbout({ rules, about }: Prepared, kind: PartKind, withWhole: boolean): readonly PreparedRule[] {
  const question = `${kind} ${withWhole}`;
  const found =
    about.get(question) ??
    rules.filter((rule) => (rule.isWhole ? withWhole : rule.kind === null || rule.kind === kind));
  about.set(question, found);
  return found;
}

/** What is asked about a part. */
export interface SetQuestion {
  readonly kind: PartKind;
  /** Ask also the rules that say the same of every part. */
  readonly withWhole: boolean;
  /** What is known of the request; null: nothing. */
  readonly facts: () => RequestFacts | null;
}

/**
 * Name of the set of rules to ask about a part; null when there is none to ask. Every evaluation costs as much as it has rules:
 * those that surely do not match are left out, and the few sets that remain are made when they are first needed.
 */
export function setFor(cedar: Cedar, loaded: LoadedPolicy, question: SetQuestion): string | null {
  const prepared = preparedSets.get(loaded);
  // Of a set that was not made here nothing is known: Cedar is asked, and does not know it either.
  if (prepared === undefined) return loaded.hash;
  const about = rulesAbout(prepared, question.kind, question.withWhole);
  const facts = about.some(({ misses }) => misses !== null) ? question.facts() : null;
  const left = facts === null ? about : about.filter(({ misses }) => !misses?.(facts));
  if (left.length === 0) return null;
  return nameOf(cedar, loaded, prepared, left) ?? nameOf(cedar, loaded, prepared, about) ?? loaded.hash;
}

/** Cedar never forgets a set, and a policy that is half studied could make one for each of its rules. */
const maxSets = 100;

/** Where Cedar refuses a part of a set that it took as a whole, the whole is asked. */
function nameOf(
  cedar: Cedar,
  loaded: LoadedPolicy,
  { sets, order }: Prepared,
  rules: readonly PreparedRule[],
): string | null {
  if (rules.length === loaded.texts.size) return loaded.hash;
  const places = rules.map(({ id }) => order.get(id)).join(' ');
  const known = sets.get(places);
  if (known !== undefined) return known;
  if (sets.size >= maxSets) return null;
  const name = `${loaded.hash}.${places}`;
  const answer = cedar.preparsePolicySet(name, { staticPolicies: policyMap(rules) });
  const made = answer.type === 'success' ? name : loaded.hash;
  sets.set(places, made);
  return made;
}

/** Whether a rule says the same of every part. */
export const isWhole = (loaded: LoadedPolicy, id: string): boolean =>
  preparedSets.get(loaded)?.rules.some((rule) => rule.isWhole && rule.id === id) ?? false;

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
