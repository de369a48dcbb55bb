import { KontextError } from '@kontext/errors';
import type { Caller } from '../caller.ts';

const administrators: ReadonlySet<string> = new Set(['owner', 'admin']);

/** Whether the caller may change what belongs to the whole organisation. An unknown role may not. */
export const isAdministrator = (caller: Pick<Caller, 'role'>): boolean => administrators.has(caller.role);

/**
 * Refuses everybody but owners and admins.
 *
 * @param what For the message: what only they may do.
 * @throws KontextError `KX_FORBIDDEN`.
 */
export function requireAdministrator(caller: Pick<Caller, 'role'>, what: string): void {
  if (isAdministrator(caller)) return;
  throw new KontextError('KX_FORBIDDEN', `only an owner or admin may ${what}`, {
    why: `your role is ${caller.role}`,
  });
}
