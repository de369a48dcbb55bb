import { loadCedar } from './load-cedar.ts';
import { annotationsOf, type RuleAnnotations } from './parse-policies.ts';
import type { PolicyText } from './tool-call.ts';

/** Reads what a rule says beside its condition. @throws KontextError `KX_POLICY_INVALID` when it does not parse. */
export type RuleReader = (policy: PolicyText) => RuleAnnotations;

/**
 * Loads Cedar (the second call of a process is free) and makes a reader of annotations.
 *
 * @param wasmPath See `createPolicyEngine`.
 */
export async function createRuleReader(wasmPath?: string): Promise<RuleReader> {
  const cedar = await loadCedar(wasmPath);
  return (policy) => annotationsOf(cedar, policy);
}
