import { type DescMessage, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { createContextKey, type Interceptor, type UnaryRequest } from '@connectrpc/connect';
import { KontextError } from '@kontext/errors';
import type { Confirmations } from '../login/confirmations.ts';
import type { ProtectedAction } from '../login/request-confirmation.ts';
import { type AuthenticatedCaller, callerKey } from './authenticate.ts';
import { type Permission, permissionOf, rpcNameOf } from './permissions.ts';

/** Request header that carries the id of a confirmation. */
export const confirmationHeader = 'kontext-confirmation';

/** Address a request came from, as the server sees it; trusted proxies are looked through. */
export const addressKey = createContextKey('', { description: 'address of the client' });

/**
 * The interceptor behind authentication: holds every call to its row of `permissions.ts`. Role first, so that nobody is asked
 * to confirm what they may not do; then the confirmation; then the work.
 *
 * @throws KontextError `KX_FORBIDDEN`, `KX_CONFIRMATION_NEEDED`, and what {@link Confirmations.take} throws.
 */
export function createPermissionCheck(confirmations: Confirmations): Interceptor {
  return (next) => async (request) => {
    const caller = request.contextValues.get(callerKey);
    if (!caller) throw new KontextError('KX_UNAUTHENTICATED', 'the call was not authenticated');
    const permission = permissionOf(request.method);
    checkPermission(rpcNameOf(request.method), permission, caller);
    const wanted = request.stream ? null : protectedAction(request, permission, caller);
    if (wanted === null) return next(request);
    const id = request.header.get(confirmationHeader);
    if (id === null) throw await confirmations.ask(caller, wanted);
    await confirmations.take(caller, id, wanted);
    try {
      return await next(request);
    } catch (error) {
      // A failure nobody foresaw may have come after the deed: then the confirmation stays used.
      if (error instanceof KontextError && error.code !== 'KX_INTERNAL') {
        await confirmations.giveBack(caller, id, error.code);
      }
      throw error;
    }
  };
}

/** What has to be confirmed before the work may be done; null when nothing has. */
function protectedAction(
  { method, message, contextValues }: UnaryRequest,
  permission: Permission<unknown> | null,
  caller: AuthenticatedCaller,
): ProtectedAction | null {
  const summary = permission?.confirm?.(message, caller) ?? null;
  if (summary === null) return null;
  const bytes = toBinary(method.input as DescMessage, message as MessageShape<DescMessage>);
  return { action: rpcNameOf(method), message: bytes, summary, address: contextValues.get(addressKey) };
}

/**
 * Whether this caller may call an RPC with this row.
 *
 * @throws KontextError `KX_FORBIDDEN` when not: the role is not among those of the row, or there is no row.
 */
export function checkPermission(
  name: string,
  permission: Permission<unknown> | null,
  caller: Pick<AuthenticatedCaller, 'role'> & Partial<Pick<AuthenticatedCaller, 'delegation'>>,
): void {
  if (permission === null) {
    throw new KontextError('KX_FORBIDDEN', `nobody may call ${name}`, { why: 'it has no row in the table' });
  }
  if (caller.delegation && permission.delegated !== true) {
    throw new KontextError('KX_FORBIDDEN', `a delegation token may not call ${name}`, {
      why: 'it resolves credentials within its scopes, and does nothing else',
      hint: 'use the token of the login',
    });
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
