import { decideOne, decideParts, decideUnasked, failed, type Verdict } from './decide-parts.ts';
import type { Finding } from './finding.ts';
import { lintSources } from './lint-sources.ts';
import { loadCedar } from './load-cedar.ts';
import { type LoadedPolicy, loadPolicies, studyNext } from './loaded-policy.ts';
import { splitPolicyFile } from './parse-policies.ts';
import { type ParsedSources, parseSources, type SourceFile } from './parse-sources.ts';
import {
  type CredentialUse,
  credentialRequest,
  type SessionStart,
  sessionStartRequest,
} from './session-request.ts';
import type { CallPart, Decision, Mode, PolicySet, PolicyText, ToolCall } from './tool-call.ts';

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
  /**
   * Studies one more rule of a set: decisions then ask Cedar only about rules that might match, and come out the same.
   *
   * Takes milliseconds each; for whoever decides many calls, between other things.
   *
   * @returns Whether there are more.
   */
  study(loaded: LoadedPolicy): boolean;
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
    load: (set, { validate = true } = {}) => loadPolicies(cedar, set, validate),
    decide,
    decideCredential: (loaded, use, mode) =>
      stamped(loaded, mode, () => decideOne(cedar, loaded, credentialRequest(use, loaded.hash))),
    decideSessionStart: (loaded, start, mode) =>
      stamped(loaded, mode, () => decideUnasked(cedar, loaded, sessionStartRequest(start, loaded.hash))),
    warmUp: (loaded) => {
      for (let round = 0; round < 3; round += 1) decide(loaded, warmUpCall, 'observe');
    },
    study: (loaded) => studyNext(cedar, loaded),
  };
}

/** Most calls run commands: their rules are taken out of the set now. */
const warmUpCommand: CallPart = {
  ...{ kind: 'command', program: 'true', path: 'true', args: [], subcommand: '', flags: [], assigns: [] },
  ...{ via: [], pipedFrom: '', dynamic: false },
};

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
  parts: [{ kind: 'tool', name: 'none' }, warmUpCommand],
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
