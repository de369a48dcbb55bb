/** Policy: Cedar loaded once, `decide` pure and total, the same answer everywhere. */
export { hashPolicies } from './hash-policies.ts';
export {
  createPolicyEngine,
  type LoadedPolicy,
  type LoadOptions,
  type PolicyEngine,
} from './policy-engine.ts';
export { starterPolicies } from './starter-policies.ts';
export type { Decision, Mode, PolicySet, PolicyText, ToolCall } from './tool-call.ts';
