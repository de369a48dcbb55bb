import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { LoginSchema, LoginService } from '@kontext/protocol';
import type { ManagedLogins, ShownLogin } from '../login/manage-logins.ts';
import { callerOf } from './authenticate.ts';
import type { RpcRoutes } from './router.ts';

/** The edge of logins of terminals. */
export const loginRoutes =
  (logins: Pick<ManagedLogins, 'list' | 'revoke'>): RpcRoutes =>
  (router) =>
    router.service(LoginService, {
      listLogins: async ({ userId }, context) => ({
        logins: (await logins.list(callerOf(context), userId)).map(toLoginMessage),
      }),
      revokeLogins: async ({ loginId, userId }, context) => {
        const ended = await logins.revoke(callerOf(context), { loginId, userId });
        return { loginsEnded: ended.logins, sessionsEnded: ended.sessions, leasesEnded: ended.leases };
      },
    });

/** A login on the wire. */
export function toLoginMessage({ id, login, idleExpiresAt, current }: ShownLogin) {
  const { machine, address, clientId, acr } = login;
  const init: MessageInitShape<typeof LoginSchema> = {
    ...{ id, machine: machine ?? '', address, clientId, acr, current },
    createdAt: timestampFromDate(login.createdAt),
    lastUsedAt: timestampFromDate(login.lastUsedAt),
    idleExpiresAt: timestampFromDate(idleExpiresAt),
    absoluteExpiresAt: timestampFromDate(login.absoluteExpiresAt),
    authAt: timestampFromDate(login.authAt),
  };
  return create(LoginSchema, init);
}
