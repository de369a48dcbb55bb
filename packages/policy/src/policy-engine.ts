import type { AuthorizationAnswer } from '@cedar-policy/cedar-wasm/web';
import { cedarRequest } from './cedar-request.ts';
import { basePermitId } from './cedar-schema.ts';
import { hashPolicies } from './hash-policies.ts';
import { type Cedar, loadCedar } from './load-cedar.ts';
import {
  invalid,
  policyJson,
  policyMap,
  reasonOf,
  splitPolicyFile,
  validatePolicies,
} from './parse-policies.ts';
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
      return {
        ...read(cedar, cedar.statefulIsAuthorized(cedarRequest(call, loaded.hash)), loaded),
        ...stamp,
      };
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

function read(cedar: Cedar, answer: AuthorizationAnswer, loaded: LoadedPolicy): Verdict {
  if (answer.type === 'failure') return failed(answer.errors[0]?.message ?? 'unknown');
  const { decision, diagnostics } = answer.response;
  const [error] = diagnostics.errors;
  if (error) return failed(`policy ${error.policyId}: ${error.error.message}`);
  if (decision === 'allow')
    return { effect: 'allow', rule: null, reason: 'no rule forbids it', failure: null };
  // Several rules may forbid one call and Cedar gives them in no order: the first of the set is named.
  const deciding = new Set(diagnostics.reason);
  const named = [...loaded.texts].find(([id]) => deciding.has(id));
  // A deny that no rule made means that the base permit did not apply, which cannot be.
  if (!named) return failed(`${basePermitId} did not apply`);
  const [rule, text] = named;
  // Read when it is needed: reading the annotations of every rule would double the time of loading.
  return { effect: 'deny', rule, reason: reasonOf(cedar, { id: rule, text }), failure: null };
}

const failed = (failure: string): Verdict => ({
  effect: 'deny',
  rule: null,
  reason: 'the policy could not be evaluated',
  failure: failure.slice(0, 500),
});

const warmUpCall: ToolCall = {
  schema: 1,
  agent: 'none',
  event: 'PreToolUse',
  tool: 'none',
  input: { command: 'true', list: [1, null, true] },
  command: 'true',
  cwd: '/',
  permissionMode: 'default',
  opaque: false,
  user: 'none',
  org: 'none',
  session: 'none',
  groups: ['none'],
  role: 'none',
};
