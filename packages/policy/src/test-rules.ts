import { createPolicyEngine, type PolicyText } from './index.ts';

/** A rule against tool calls, for tests. */
export const testRule = (
  id: string,
  condition: string,
  annotations = '',
  resource = 'resource',
): PolicyText => ({
  id,
  text: `${annotations}forbid (principal, action == Action::"tool_call", ${resource}) when { ${condition} };`,
});

/** The engine, and sets of version 3 in it. */
export async function openTestEngine() {
  const engine = await createPolicyEngine();
  const load = (...policies: PolicyText[]) => engine.load({ version: 3, policies });
  /** Validating takes the most of loading. */
  const unchecked = (...policies: PolicyText[]) => engine.load({ version: 3, policies }, { validate: false });
  return { engine, load, unchecked };
}
