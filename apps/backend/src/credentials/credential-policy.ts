import type { ExchangeFacts } from '@kontext/oauth';
import type { Decision } from '@kontext/policy';
import type { UsePolicy } from '../policies/use-policy.ts';
import type { ProviderFact } from '../store/queries/credential-facts.ts';
import { keyOf, type WantedCredential } from './wanted-credential.ts';

/** What policy says about each wanted credential, by `keyOf`; what no policy was asked about is missing. */
export type CredentialDecisions = ReadonlyMap<string, Decision>;

/** For whom, and when. */
export interface CredentialAsker {
  /** Null: outside of any session. */
  readonly session: {
    readonly id: string;
    readonly agent: string;
    readonly mode: 'observe' | 'enforce';
  } | null;
  readonly nowMs: number;
  /** What a credential could do if it were handed out, whether that was asked for or not. */
  readonly scopesOf: (wanted: WantedCredential, provider: ProviderFact) => readonly string[];
}

/** How long the event loop is held before others have their turn. */
const turnMs = 20;
/** Longest time over all credentials of a batch; what is not decided by then counts as a policy that fails. */
const budgetMs = 2_000;

/**
 * Asks the policy about credentials of providers that are attached; the others are refused anyway.
 *
 * In a session that was opened in enforce it is enforced, whatever was published since.
 */
export async function decideCredentials(
  policy: UsePolicy,
  wanted: readonly WantedCredential[],
  providers: ReadonlyMap<string, ProviderFact>,
  { session, nowMs, scopesOf }: CredentialAsker,
): Promise<CredentialDecisions> {
  const mode = session?.mode === 'enforce' ? 'enforce' : (policy.holding?.mode ?? 'observe');
  const decided = new Map<string, Decision>();
  const startedMs = performance.now();
  let turnStartedMs = startedMs;
  for (const one of wanted) {
    const found = providers.get(one.provider);
    if (!found?.attached) continue;
    const { provider, resource: target } = one;
    const scopes = [...new Set([...one.scopes, ...scopesOf(one, found)])];
    const asked = {
      ...{ provider, providerKind: kindOf(found.provider.kind), target, scopes, atMs: nowMs },
      ...{ agent: session?.agent ?? '', session: session?.id ?? '' },
    };
    const isLate = performance.now() - startedMs > budgetMs;
    decided.set(keyOf(one), isLate ? tooLate(policy, mode) : policy.credential(asked, mode));
    if (performance.now() - turnStartedMs > turnMs) {
      await new Promise((resolve) => setImmediate(resolve));
      turnStartedMs = performance.now();
    }
  }
  return decided;
}

/** As rules write it. */
const kindOf = (kind: ProviderFact['provider']['kind']): string => (kind === 'oauth2' ? 'oauth' : kind);

function tooLate({ holding }: UsePolicy, mode: Decision['mode']): Decision {
  const reason = 'the policy could not be evaluated';
  return {
    ...{ effect: 'deny', rule: null, reason, part: null, approver: null, fourEyes: false, sensitive: false },
    ...{ policyVersion: holding?.version ?? 0, mode, failure: 'it took too long for so many credentials' },
  };
}

/** Whether a decision is carried out, and lets the person of the session be asked. */
export const asksUser = (decision: Decision | undefined): boolean =>
  decision?.mode === 'enforce' && decision.effect === 'ask' && !asksOthers(decision);

/** Only the session's own user can be asked before a credential leaves: where a rule wants somebody else it denies. */
const asksOthers = ({ approver, fourEyes }: Decision): boolean => approver !== null || fourEyes;

/** What the exchange does about a decision; null: nothing, it is recorded alone. */
export function toPolicyFact(decision: Decision | undefined): ExchangeFacts['policy'] {
  if (decision === undefined || decision.mode === 'observe' || decision.effect === 'allow') return null;
  const { rule, reason } = decision;
  if (asksUser(decision)) return { effect: 'allow', rule };
  const others = decision.effect === 'ask' ? ' (somebody else has to approve, who cannot be asked here)' : '';
  return { effect: 'deny', rule, reason: `${reason}${others}` };
}

/** What an event says about a decision of policy: which policy was asked, and which rule objected. */
export function policyFields(decision: Decision | null) {
  if (decision === null) return { fields: {}, facts: {} };
  const { effect, rule, reason, failure, policyVersion, mode } = decision;
  const objected = rule !== null || failure !== null;
  return {
    fields: { decision: objected ? effect : null, rule, policyVersion, mode },
    facts: objected ? { policy: { reason, failure } } : {},
  };
}
