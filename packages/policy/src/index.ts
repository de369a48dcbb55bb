/** Policy: Cedar loaded once, `decide` pure and total, the same answer everywhere. */
export {
  type CallAction,
  type CallReader,
  type CallReading,
  type CallWorld,
  createCallReader,
} from './call-reader.ts';
export { describePart } from './describe-part.ts';
export { hashPolicies } from './hash-policies.ts';
export {
  createPolicyEngine,
  type LoadedPolicy,
  type LoadOptions,
  type PolicyEngine,
} from './policy-engine.ts';
export { createRuleReader, type RuleReader } from './read-rule.ts';
export { starterPolicies } from './starter-policies.ts';
export type {
  CallPart,
  Decision,
  Mode,
  OpaqueCause,
  PolicySet,
  PolicyText,
  Repository,
  ToolCall,
} from './tool-call.ts';
