import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import { InvitationSchema, type OrganisationService } from '@kontext/protocol';
import {
  type InvitationDeps,
  type InvitationRow,
  inviteMember,
  listInvitations,
  revokeInvitation,
} from '../organisations/invitations.ts';
import { callerOf } from './authenticate.ts';

/** The part of the organisation's service that is about invitations. */
export function invitationHandlers(
  deps: InvitationDeps,
): Pick<ServiceImpl<typeof OrganisationService>, 'inviteMember' | 'listInvitations' | 'revokeInvitation'> {
  return {
    inviteMember: async ({ email, role, groups }, context) => {
      const { invitation, link } = await inviteMember(deps, callerOf(context), { email, role, groups });
      return { invitation: toMessage(invitation), link };
    },
    listInvitations: async (_request, context) => ({
      invitations: (await listInvitations(deps, callerOf(context))).map(toMessage),
    }),
    revokeInvitation: async ({ invitationId }, context) => {
      await revokeInvitation(deps, callerOf(context), invitationId);
      return {};
    },
  };
}

const toMessage = ({ id, email, role, groups, invitedBy, createdAt, expiresAt }: InvitationRow) =>
  create(InvitationSchema, {
    ...{ id, email, role, groups, invitedBy },
    createdAt: timestampFromDate(createdAt),
    expiresAt: timestampFromDate(expiresAt),
  });
