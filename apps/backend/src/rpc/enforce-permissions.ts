import type { Interceptor } from '@connectrpc/connect';
import { KontextError } from '@kontext/errors';
import { type AuthenticatedCaller, callerKey } from './authenticate.ts';
import { type Permission, permissionOf, rpcNameOf } from './permissions.ts';

/**
 * The interceptor behind authentication: refuses a caller whose role the table of `permissions.ts` does not name.
 *
 * @throws KontextError `KX_FORBIDDEN` naming the roles that may, before the work is asked.
 */
export function createPermissionCheck(): Interceptor {
  return (next) => async (request) => {
    const caller = request.contextValues.get(callerKey);
    if (!caller) throw new KontextError('KX_UNAUTHENTICATED', 'the call was not authenticated');
    const name = rpcNameOf(request.method);
    checkPermission(name, permissionOf(request.method), caller);
    return next(request);
  };
}

/**
 * Whether this caller may call an RPC with this row.
 *
 * @throws KontextError `KX_FORBIDDEN` when not: the role is not among those of the row, or there is no row.
 */
export function checkPermission(
  name: string,
  permission: Permission<unknown> | null,
  caller: Pick<AuthenticatedCaller, 'role'>,
): void {
  if (permission === null) {
    throw new KontextError('KX_FORBIDDEN', `nobody may call ${name}`, { why: 'it has no row in the table' });
  }
  const { roles } = permission;
  if (roles === 'everybody' || roles.some((role) => role === caller.role)) return;
  throw new KontextError('KX_FORBIDDEN', `the role ${caller.role} may not call ${name}`, {
    why: `it is for ${list(roles)}`,
    hint: `ask somebody who is ${list(roles)}`,
  });
}

const list = (roles: readonly string[]): string =>
  roles.length < 2 ? roles.join('') : `${roles.slice(0, -1).join(', ')} or ${roles.at(-1)}`;
