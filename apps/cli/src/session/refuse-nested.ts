import { KontextError } from '@kontext/errors';
import type { Config } from '../config.ts';

/**
 * Refuses a command inside a session: there the one who types is the agent, with the developer's login.
 *
 * @throws KontextError `KX_SESSION_NESTED` (64).
 */
export function refuseNested(config: Pick<Config, 'sessionId'>, command: string): void {
  if (config.sessionId === null) return;
  throw new KontextError('KX_SESSION_NESTED', `\`kontext ${command}\` may not run inside a session`, {
    why: `KONTEXT_SESSION_ID says that this is session ${config.sessionId}`,
  });
}
