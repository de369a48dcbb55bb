import type { AuthorizationAnswer } from '@cedar-policy/cedar-wasm/web';
import { cedarRequests } from './cedar-request.ts';
import { basePermitId } from './cedar-schema.ts';
import { describePart } from './describe-part.ts';
import { hashPolicies } from './hash-policies.ts';
import { type Cedar, loadCedar } from './load-cedar.ts';
import {
  annotationsOf,
  invalid,
  policyJson,
  policyMap,
  splitPolicyFile,
  validatePolicies,
} from './parse-policies.ts';
import type { CallPart, Decision, Mode, PolicySet, PolicyText, ToolCall } from './tool-call.ts';

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
  const decide: PolicyEngine['decide'] = (loaded, call, mode) => {
    const stamp = { policyVersion: loaded.version, mode };
    try {
      return { ...decideParts(cedar, loaded, call), ...stamp };
    } catch (error) {
      return { ...failed(error instanceof Error ? error.message : 'unknown'), ...stamp };
    }
  };
  return {
    parse: (text) => splitPolicyFile(cedar, text),
    load: (set, { validate = true } = {}) => load(cedar, set, validate),
    decide,
    warmUp: (loaded) => {
      for (let round = 0; round < 3; round += 1) decide(loaded, warmUpCall, 'observe');
    },
  };
}

function load(cedar: Cedar, { version, policies }: PolicySet, validate: boolean): LoadedPolicy {
  const staticPolicies = policyMap(policies);
  if (validate) validatePolicies(cedar, policies);
  const hash = hashPolicies(policies);
  const answer = cedar.preparsePolicySet(hash, { staticPolicies });
  if (answer.type === 'failure') {
    for (const policy of policies) policyJson(cedar, policy);
    throw invalid('the policy', '', answer.errors[0]);
  }
  return { version, hash, texts: new Map(policies.map(({ id, text }) => [id, text])) };
}

type Verdict = Omit<Decision, 'policyVersion' | 'mode'>;

/** Judges every part; the worst verdict is that of the call. */
function decideParts(cedar: Cedar, loaded: LoadedPolicy, call: ToolCall): Verdict {
  let worst: Verdict = noObjection;
  for (const { part, request } of cedarRequests(call, loaded.hash)) {
    const verdict = read(cedar, cedar.statefulIsAuthorized(request), loaded, part);
    if (rank(verdict) > rank(worst)) worst = verdict;
  }
  return worst;
}

const rank = ({ effect, failure, sensitive }: Verdict): number =>
  failure !== null ? 4 : effect === 'deny' ? 3 : effect === 'ask' ? 2 : sensitive ? 1 : 0;

function read(cedar: Cedar, answer: AuthorizationAnswer, loaded: LoadedPolicy, part: CallPart): Verdict {
  if (answer.type === 'failure') return failed(answer.errors[0]?.message ?? 'unknown');
  const { decision, diagnostics } = answer.response;
  const [error] = diagnostics.errors;
  if (error) return failed(`policy ${error.policyId}: ${error.error.message}`);
  if (decision === 'allow') return noObjection;
  const deciding = new Set(diagnostics.reason);
  const rules = [...loaded.texts]
    .filter(([id]) => deciding.has(id))
    .map(([id, text]) => ({ id, ...annotationsOf(cedar, { id, text }) }));
  // A deny that no rule made means that the base permit did not apply, which cannot be.
  const [first] = rules;
  if (!first) return failed(`${basePermitId} did not apply`);
  // Several rules may forbid one call and Cedar gives them in no order: the first of the set with the worst effect is named.
  const rule =
    rules.find(({ effect }) => effect === 'deny') ?? rules.find(({ effect }) => effect === 'ask') ?? first;
  return {
    effect: rule.effect === 'sensitive' ? 'allow' : rule.effect,
    rule: rule.id,
    reason: rule.reason,
    part: describePart(part),
    approver: rule.approver,
    fourEyes: rule.fourEyes,
    sensitive: rule.effect === 'sensitive',
    failure: null,
  };
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
  failure: failure.slice(0, 500),
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
