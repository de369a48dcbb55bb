/**
 * What the policy that holds says about credentials and sessions, asked while they are handed out or opened.
 *
 * In the backend's own thread: only what was published, which a person confirmed in the browser, is loaded here, and of that
 * only the rules that are not about tool calls alone. Most organisations have none, and then nothing is evaluated.
 */
import {
  type CredentialUse,
  createPolicyEngine,
  type Decision,
  type LoadedPolicy,
  type PolicyEngine,
  type PolicyText,
  type SessionStart,
} from '@kontext/policy';
import type { Caller } from '../caller.ts';
import { findVersion } from '../store/queries/policies.ts';
import type { Tx } from '../store/tx.ts';
import { type Holding, loadHolding } from './holding.ts';

type Mode = Holding['mode'];
/** What is not known of who acts is filled in from the membership. */
type Asked<Question> = Omit<Question, 'user' | 'role' | 'groups'>;

/** The policy of one member at one moment. Its answers never throw: what goes wrong is a deny with `failure` set. */
export interface UsePolicy {
  readonly holding: Holding | null;
  /** About a credential; an `ask` is for a person. */
  credential(use: Asked<CredentialUse>, mode: Mode): Decision;
  /** About a session; nobody can be asked. */
  sessionStart(start: Asked<SessionStart>, mode: Mode): Decision;
}

/** Rules of one version that count here; null: there are none. */
interface UseRules {
  readonly engine: PolicyEngine;
  readonly loaded: LoadedPolicy;
}
type Loaded = UseRules | { readonly failure: string } | null;

/** By hash. As Cedar's own memory of parsed sets it belongs to the process. */
const known = new Map<string, Loaded>();
const maxKnown = 1000;
let engine: Promise<PolicyEngine> | undefined;

/** Loads what holds for a member, in the transaction that acts on it. */
export async function loadUsePolicy(
  tx: Tx,
  { orgId, userId }: Pick<Caller, 'orgId' | 'userId'>,
): Promise<UsePolicy> {
  const holding = await loadHolding(tx, orgId, userId);
  return makeUsePolicy(userId, holding, holding === null ? null : await loadRules(tx, orgId, holding));
}

function makeUsePolicy(user: string, holding: Holding | null, rules: Loaded): UsePolicy {
  const { version: policyVersion = 0, role = '', groups = [] } = holding ?? {};
  const judge = (mode: Mode, ask: (rules: UseRules) => Decision): Decision => {
    if (rules === null) return { ...noObjection, policyVersion, mode };
    if ('failure' in rules) {
      const reason = 'the policy could not be loaded';
      return { ...noObjection, effect: 'deny', reason, failure: rules.failure, policyVersion, mode };
    }
    return { ...ask(rules), policyVersion };
  };
  const who = { user, role, groups };
  return {
    holding,
    credential: (use, mode) =>
      judge(mode, ({ engine: cedar, loaded }) => cedar.decideCredential(loaded, { ...use, ...who }, mode)),
    sessionStart: (start, mode) =>
      judge(mode, ({ engine: cedar, loaded }) =>
        cedar.decideSessionStart(loaded, { ...start, ...who }, mode),
      ),
  };
}

async function loadRules(tx: Tx, orgId: string, { hash, version }: Holding): Promise<Loaded> {
  const cached = known.get(hash);
  if (cached !== undefined) return cached;
  const row = await findVersion(tx, orgId, version);
  const policies = (JSON.parse(row?.policies ?? '[]') as PolicyText[]).filter(
    ({ text }) => !isAboutCalls(text),
  );
  const ready = policies.length === 0 ? null : await openEngine();
  // Not remembered: the next one tries again.
  if (ready !== null && 'failure' in ready) return ready;
  const rules = ready === null ? null : load(ready, policies, version);
  if (known.size >= maxKnown) known.clear();
  known.set(hash, rules);
  return rules;
}

async function openEngine(): Promise<PolicyEngine | { readonly failure: string }> {
  engine ??= createPolicyEngine();
  try {
    return await engine;
  } catch (error) {
    engine = undefined;
    return failed(error);
  }
}

function load(ready: PolicyEngine, policies: readonly PolicyText[], version: number): Loaded {
  try {
    // Validated when it was drafted and when it was published.
    return { engine: ready, loaded: ready.load({ version, policies }, { validate: false }) };
  } catch (error) {
    return failed(error);
  }
}

const failed = (error: unknown) => ({
  failure: error instanceof Error ? error.message.slice(0, 500) : 'unknown',
});

/**
 * Whether a rule's head says that it is about tool calls and nothing else. Errs towards no, which only costs its evaluation:
 * strings with commas, comments within the head and lists of actions are not looked into.
 */
function isAboutCalls(text: string): boolean {
  return head.test(text);
}

const head = new RegExp(
  [
    // Nothing can be read in two ways: a hostile text takes no longer than its length.
    String.raw`^(?:\s|//[^\n]*\n|@\w+(?:\s*\(\s*"(?:[^"\\]|\\.)*"\s*\))?)*`,
    String.raw`forbid\s*\(\s*principal(?:[^,/"]|"[^"\\,/]*")*,\s*action\s*==\s*Action\s*::\s*"tool_call"\s*,`,
  ].join(''),
);

const noObjection: Omit<Decision, 'policyVersion' | 'mode'> = {
  ...{ effect: 'allow', rule: null, reason: 'no rule forbids it', part: null, approver: null },
  ...{ fourEyes: false, sensitive: false, failure: null },
};
