/** Policy: Cedar loaded once, `decide` pure and total, the same answer everywhere. */
export { type CallReader, createCallReader } from './call-reader.ts';
export { callShape } from './call-shape.ts';
export type { CallAction, CallReading, CallWorld } from './call-world.ts';
export { describePart } from './describe-part.ts';
export type { Finding, FindingCheck } from './finding.ts';
export { hashPolicies } from './hash-policies.ts';
export type { LoadedPolicy } from './loaded-policy.ts';
export type { ParsedSources, SourceFile } from './parse-sources.ts';
export { type ParsedToolCall, parseToolCall } from './parse-tool-call.ts';
export {
  createPolicyEngine,
  type LoadOptions,
  type PolicyEngine,
} from './policy-engine.ts';
export { createRuleReader, type RuleReader } from './read-rule.ts';
export { type ExampleResult, runExamples } from './run-examples.ts';
export type { CredentialUse, SessionStart } from './session-request.ts';
export { starterPolicies } from './starter-policies.ts';
export { starterSources } from './starter-sources.ts';
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
