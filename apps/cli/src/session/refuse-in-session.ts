import { KontextError } from '@kontext/errors';
import type { Config } from '../config.ts';

/**
 * Refuses a command that changes authority inside a session: there the one who types is the agent, with the developer's
 * login. The backend asks for a confirmation besides; this only says it early and clearly.
 *
 * @throws KontextError `KX_SESSION_REFUSED` (77).
 */
export function refuseInSession({ config }: { readonly config: Pick<Config, 'sessionId'> }): void {
  if (config.sessionId === null) return;
  throw new KontextError('KX_SESSION_REFUSED', 'this command may not run inside a session', {
    why: `KONTEXT_SESSION_ID says that this is session ${config.sessionId}, where an agent could be typing`,
  });
}
