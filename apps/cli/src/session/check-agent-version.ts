import { KontextError } from '@kontext/errors';
import type { Mode } from '@kontext/policy';
import type { AgentAdapter } from '../agents/agent.ts';
import { isOlder } from '../is-older.ts';
import type { Terminal } from '../terminal.ts';

/**
 * Looks whether the agent's hooks can deny when they fail; where policy is only observed, it says so. A version that is not
 * known passes: the agent is asked once it runs, and is known the next time.
 *
 * @throws KontextError `KX_AGENT_TOO_OLD` (78) for one that cannot, in enforce.
 */
export function checkAgentVersion(
  { name, minVersion }: Pick<AgentAdapter, 'name' | 'minVersion'>,
  version: string,
  mode: Mode,
  terminal: Pick<Terminal, 'warn'>,
): void {
  if (version === '' || !isOlder(version, minVersion)) return;
  if (mode === 'enforce')
    throw new KontextError('KX_AGENT_TOO_OLD', `${name} ${version} is older than ${minVersion}`);
  terminal.warn(
    `hooks of ${name} ${version} let calls through when they fail; ${minVersion} and newer can be enforced`,
  );
}
