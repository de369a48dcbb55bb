import type { AuthorizationAnswer } from '@cedar-policy/cedar-wasm/web';
import { cedarRequests } from './cedar-request.ts';
import { basePermitId } from './cedar-schema.ts';
import { describePart, oneLine } from './describe-part.ts';
import type { Finding } from './finding.ts';
import { hashPolicies } from './hash-policies.ts';
import { lintSources } from './lint-sources.ts';
import { type Cedar, loadCedar } from './load-cedar.ts';
import {
  annotationsOf,
  invalid,
  policyJson,
  policyMap,
  type RuleAnnotations,
  splitPolicyFile,
  validatePolicies,
} from './parse-policies.ts';
import { type ParsedSources, parseSources, type SourceFile } from './parse-sources.ts';
import { dependsOnResource } from './scan-policies.ts';
import {
  type CredentialUse,
  credentialRequest,
  type SessionRequest,
  type SessionStart,
  sessionStartRequest,
} from './session-request.ts';
import type { Decision, Mode, PolicySet, PolicyText, ToolCall } from './tool-call.ts';

/** Policies ready to decide with. Made by {@link PolicyEngine.load}; valid in the process that made it. */
export interface LoadedPolicy {
  readonly version: number;
  /** {@link hashPolicies} of the set, which is also the name Cedar keeps the parsed set under. */
  readonly hash: string;
  /** Text per rule id, in the order of the set. */
  readonly texts: ReadonlyMap<string, string>;
}

/** How much of a set to check when it is loaded. */
export interface LoadOptions {
  /**
   * Default true: check every policy against the schema. False saves about 100 ms of a cold process and is for a
   * set the backend has validated and signed; a policy that does not fit then makes decisions fail, which denies.
   */
  readonly validate?: boolean;
}

/** Decides tool calls with Cedar. */
export interface PolicyEngine {
  /** Splits a `.cedar` file into policies named by `@id`. @throws KontextError `KX_POLICY_INVALID`. */
  parse(text: string): readonly PolicyText[];
  /**
   * Checks and parses a set once. Cedar keeps parsed sets until the process ends; the same set is kept once.
   *
   * @throws KontextError `KX_POLICY_INVALID` naming the policy, line and column.
   */
  load(set: PolicySet, options?: LoadOptions): LoadedPolicy;
  /**
   * Decides one call: pure and total. Never throws; whatever goes wrong is a deny with `failure` set.
   *
   * A forbid whose evaluation fails is skipped by Cedar, which would be an allow: any error in the diagnostics is
   * a failure here.
   */
  decide(loaded: LoadedPolicy, call: ToolCall, mode: Mode): Decision;
  /**
   * Decides whether a credential may be handed out or renewed, by the rules of action `credential_use`.
   *
   * As total as {@link decide}.
   */
  decideCredential(loaded: LoadedPolicy, use: CredentialUse, mode: Mode): Decision;
  /**
   * Decides whether a session may be opened, by the rules of action `session_start`.
   *
   * As total as {@link decide}. Nobody can be asked here, so that a rule with `@effect("ask")` denies.
   */
  decideSessionStart(loaded: LoadedPolicy, start: SessionStart, mode: Mode): Decision;
  /**
   * Splits files into policies. Never throws: what is wrong with the text is a finding, and the rest is still split.
   *
   * Says only what keeps a set from being loaded at all; {@link lint} says the same and more.
   */
  parseSources(files: readonly SourceFile[]): ParsedSources;
  /**
   * Says everything an author should know, errors and warnings, in the order of the files.
   *
   * Files in which no finding is an error can be loaded.
   */
  lint(files: readonly SourceFile[]): readonly Finding[];
  /** Decides a few made-up calls, so that the first real one does not pay for compiling (about 30 ms). */
  warmUp(loaded: LoadedPolicy): void;
}

/**
 * Loads Cedar and makes an engine. About 20 ms; the first `load` and `warmUp` cost about 70 ms more, so do them
 * while something else is waited for.
 *
 * @param options.wasmPath Where `cedar_wasm_bg.wasm` lies. Default: beside the bundle, else in the installed package.
 * @throws KontextError `KX_INTERNAL` when the WebAssembly cannot be loaded.
 */
export async function createPolicyEngine(
  options: { readonly wasmPath?: string } = {},
): Promise<PolicyEngine> {
  const cedar = await loadCedar(options.wasmPath);
  const stamped = (loaded: LoadedPolicy, mode: Mode, judge: () => Verdict): Decision => {
    const stamp = { policyVersion: loaded.version, mode };
    try {
      return { ...judge(), ...stamp };
    } catch (error) {
      return { ...failed(error instanceof Error ? error.message : 'unknown'), ...stamp };
    }
  };
  const decide: PolicyEngine['decide'] = (loaded, call, mode) =>
    stamped(loaded, mode, () => decideParts(cedar, loaded, call));
  return {
    parse: (text) => splitPolicyFile(cedar, text),
    parseSources: (files) => parseSources(cedar, files),
    lint: (files) => lintSources(cedar, files),
    load: (set, { validate = true } = {}) => load(cedar, set, validate),
    decide,
    decideCredential: (loaded, use, mode) =>
      stamped(loaded, mode, () => decideOne(cedar, loaded, credentialRequest(use, loaded.hash))),
    decideSessionStart: (loaded, start, mode) =>
      stamped(loaded, mode, () => decideUnasked(cedar, loaded, sessionStartRequest(start, loaded.hash))),
    warmUp: (loaded) => {
      for (let round = 0; round < 3; round += 1) decide(loaded, warmUpCall, 'observe');
    },
  };
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

function load(cedar: Cedar, { version, policies }: PolicySet, validate: boolean): LoadedPolicy {
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

type Verdict = Omit<Decision, 'policyVersion' | 'mode'>;

/** Judges the parts in order; the worst verdict is that of the call. Nothing outdoes the first deny. */
function decideParts(cedar: Cedar, loaded: LoadedPolicy, call: ToolCall): Verdict {
  const { partSet } = preparedSets.get(loaded) ?? { partSet: loaded.hash };
  const requests = cedarRequests(call, loaded.hash);
  // A call without parts would be allowed for want of a question.
  if (requests.length === 0) return failed('the call has no parts');
  let worst: Verdict = noObjection;
  for (const [index, { part, request }] of requests.entries()) {
    if (index > 0 && partSet === null) break;
    const preparsedPolicySetId = index === 0 || partSet === null ? loaded.hash : partSet;
    const answer = cedar.statefulIsAuthorized({ ...request, preparsedPolicySetId });
    const verdict = read(cedar, answer, loaded, () => describePart(part));
    if (rank(verdict) > rank(worst)) worst = verdict;
    if (worst.effect === 'deny') break;
  }
  return worst;
}

function decideOne(cedar: Cedar, loaded: LoadedPolicy, { request, subject }: SessionRequest): Verdict {
  return read(cedar, cedar.statefulIsAuthorized(request), loaded, () => subject);
}

/** Decides where nobody can be asked. */
function decideUnasked(cedar: Cedar, loaded: LoadedPolicy, asked: SessionRequest): Verdict {
  const verdict = decideOne(cedar, loaded, asked);
  return verdict.effect === 'ask' ? { ...verdict, effect: 'deny', approver: null, fourEyes: false } : verdict;
}

const rank = ({ effect, failure, sensitive }: Verdict): number =>
  failure !== null ? 4 : effect === 'deny' ? 3 : effect === 'ask' ? 2 : sensitive ? 1 : 0;

function read(cedar: Cedar, answer: AuthorizationAnswer, loaded: LoadedPolicy, part: () => string): Verdict {
  if (answer.type === 'failure') return failed(answer.errors[0]?.message ?? 'unknown');
  const { decision, diagnostics } = answer.response;
  const [error] = diagnostics.errors;
  if (error) return failed(`policy ${error.policyId}: ${error.error.message}`);
  if (decision === 'allow') return noObjection;
  const rule = decidingRule(cedar, loaded, diagnostics.reason);
  // A deny that no rule made means that the base permit did not apply, which cannot be.
  if (!rule) return failed(`${basePermitId} did not apply`);
  return {
    effect: rule.effect === 'sensitive' ? 'allow' : rule.effect,
    rule: rule.id,
    reason: rule.reason,
    part: part(),
    approver: rule.approver,
    fourEyes: rule.fourEyes,
    sensitive: rule.effect === 'sensitive',
    failure: null,
  };
}

/**
 * The rule to name: of those with the worst effect the first of the set. Cedar gives them in no order.
 *
 * @throws KontextError `KX_POLICY_INVALID` when an annotation of one of them is not understood.
 */
function decidingRule(cedar: Cedar, loaded: LoadedPolicy, matching: readonly string[]) {
  const prepared = preparedSets.get(loaded) ?? prepare(loaded, null);
  const rules = matching
    .flatMap((id) => ({ id, place: prepared.order.get(id) ?? -1 }))
    .filter(({ place }) => place >= 0)
    .sort((a, b) => a.place - b.place)
    .map(({ id }) => ({ id, ...annotationsOnce(cedar, loaded, prepared, id) }));
  return (
    rules.find(({ effect }) => effect === 'deny') ?? rules.find(({ effect }) => effect === 'ask') ?? rules[0]
  );
}

function annotationsOnce(cedar: Cedar, loaded: LoadedPolicy, { annotations }: Prepared, id: string) {
  const known = annotations.get(id);
  if (known) return known;
  const read = annotationsOf(cedar, { id, text: loaded.texts.get(id) ?? '' });
  annotations.set(id, read);
  return read;
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

const failed = (failure: string): Verdict => ({
  ...noObjection,
  effect: 'deny',
  reason: 'the policy could not be evaluated',
  failure: oneLine(failure, 500),
});

const warmUpCall: ToolCall = {
  schema: 2,
  agent: 'none',
  agentVersion: '',
  event: 'PreToolUse',
  tool: 'none',
  input: { command: 'true', list: [1, null, true] },
  command: 'true',
  cwd: '/',
  permissionMode: 'default',
  parts: [{ kind: 'tool', name: 'none' }],
  subagent: null,
  opaque: [],
  repository: null,
  credentials: [],
  atMs: 0,
  user: 'none',
  org: 'none',
  session: 'none',
  groups: ['none'],
  role: 'none',
};
