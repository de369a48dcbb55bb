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
import { dependsOnResource } from './scan-policies.ts';
import type { PolicySet, PolicyText } from './tool-call.ts';

/** Policies ready to decide with. Made by {@link PolicyEngine.load}; valid in the process that made it. */
export interface LoadedPolicy {
  readonly version: number;
  /** {@link hashPolicies} of the set, which is also the name Cedar keeps the parsed set under. */
  readonly hash: string;
  /** Text per rule id, in the order of the set. */
  readonly texts: ReadonlyMap<string, string>;
}

/** What is remembered of a loaded set, beside what its user sees. */
interface Prepared {
  /**
   * Name of the set for every part but the first: rules that do not look at the part say the same of each, so that asking
   * them once is enough. Null when no rule looks at the part.
   */
  readonly partSet: string | null;
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
  preparedSets.set(loaded, prepare(loaded, preparePartSet(cedar, hash, policies)));
  return loaded;
}

function preparePartSet(cedar: Cedar, hash: string, policies: readonly PolicyText[]): string | null {
  const looking = policies.filter(({ text }) => dependsOnResource(text));
  if (looking.length === policies.length) return hash;
  if (looking.length === 0) return null;
  const answer = cedar.preparsePolicySet(`${hash}.parts`, { staticPolicies: policyMap(looking) });
  return answer.type === 'success' ? `${hash}.parts` : hash;
}

function prepare(loaded: LoadedPolicy, partSet: string | null): Prepared {
  const order = new Map([...loaded.texts.keys()].map((id, index) => [id, index]));
  return { partSet, order, annotations: new Map() };
}

/** Name of the set to ask about every part but the first; null when there is nothing left to ask. */
export function partSetOf(loaded: LoadedPolicy): string | null {
  const prepared = preparedSets.get(loaded);
  return prepared ? prepared.partSet : loaded.hash;
}

/** The rules of some ids, in the order of the set, with what they say beside their condition. */
export function rulesOf(cedar: Cedar, loaded: LoadedPolicy, ids: readonly string[]) {
  const prepared = preparedSets.get(loaded) ?? prepare(loaded, null);
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
