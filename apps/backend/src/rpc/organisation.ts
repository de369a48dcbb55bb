import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { MemberSchema, OrganisationService } from '@kontext/protocol';
import type { AuditLog } from '../audit/log/audit-log.ts';
import type { ManagedLogins } from '../login/manage-logins.ts';
import type { InvitationDeps } from '../organisations/invitations.ts';
import type { ListedMember, Members } from '../organisations/members.ts';
import type { PolicyService } from '../policies/policy-service.ts';
import { version } from '../version.ts';
import { callerOf } from './authenticate.ts';
import { invitationHandlers } from './invitations.ts';
import { toLoginMessage } from './logins.ts';
import type { RpcRoutes } from './router.ts';

/** The work behind this edge. */
export interface OrganisationWork {
  readonly policies: Pick<PolicyService, 'keyThumbprint'>;
  readonly log: Pick<AuditLog, 'verifierKey'>;
  readonly members: Members;
  readonly invitations: InvitationDeps;
  readonly logins: Pick<ManagedLogins, 'current'>;
  readonly nowMs: () => number;
}

/** The edge of the organisation: who the caller is, and who else belongs to it. */
export const organisationRoutes =
  ({ policies, log, members, invitations, logins, nowMs }: OrganisationWork): RpcRoutes =>
  (router) =>
    router.service(OrganisationService, {
      ...invitationHandlers(invitations),
      getCaller: async (_request, context) => {
        const caller = callerOf(context);
        const { userId, userName, orgId, orgName, role, groups } = caller;
        const policyKeyThumbprint = await policies.keyThumbprint(orgId);
        const auditLogKey = await log.verifierKey(orgId);
        const { login, orgSlug } = await logins.current(caller);
        return {
          ...(login === null ? {} : { login: toLoginMessage(login) }),
          orgSlug,
          ...{ userId, userName, orgId, orgName, role, policyKeyThumbprint, auditLogKey },
          groups: [...groups],
          serverVersion: version,
          now: timestampFromMs(nowMs()),
        };
      },
      listMembers: async ({ pageSize, pageToken }, context) => {
        const page = await members.list(callerOf(context), { pageSize, pageToken });
        return { members: page.members.map(toMember), nextPageToken: page.next };
      },
      setMember: async ({ userId, role, groups }, context) => ({
        member: toMember(await members.set(callerOf(context), { userId, role, groups })),
      }),
      suspendMember: async ({ userId, restore }, context) => {
        if (restore) {
          await members.restore(callerOf(context), userId);
          return {};
        }
        const { logins, sessions, leases } = await members.suspend(callerOf(context), userId);
        return { loginsEnded: logins, sessionsEnded: sessions, leasesEnded: leases };
      },
    });

function toMember(member: ListedMember) {
  const { userId, name, email, role, groups, suspendedAt, lastLoginAt, liveSessions } = member;
  const init: MessageInitShape<typeof MemberSchema> = {
    ...{ userId, name, email, role, groups: [...groups], liveSessions },
    identityProvider: member.identityProvider ?? '',
    ...(suspendedAt ? { suspendedAt: timestampFromDate(suspendedAt) } : {}),
    ...(lastLoginAt ? { lastLoginAt: timestampFromDate(lastLoginAt) } : {}),
  };
  return create(MemberSchema, init);
}
