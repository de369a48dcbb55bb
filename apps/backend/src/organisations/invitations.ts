import { createHash, randomBytes } from 'node:crypto';
import { createId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { appendServerEvent } from '../audit/append-server-event.ts';
import type { AppendSignal } from '../audit/append-signal.ts';
import type { Caller } from '../caller.ts';
import { parseEmail } from '../login/federation/upstream-identity.ts';
import {
  findOpenInvitation,
  type InvitationRow,
  insertInvitation,
  listOpenInvitations,
  revokeInvitationRow,
} from '../store/queries/invitations.ts';
import { roles } from '../store/queries/local-accounts.ts';
import type { Store } from '../store/store.ts';

export type { InvitationRow };

/** What invitations need. */
export interface InvitationDeps {
  readonly store: Store;
  readonly apiUrl: string;
  readonly appended: Pick<AppendSignal, 'notify'>;
  readonly nowMs: () => number;
}

/** Whom to invite, as what. */
export interface NewInvitation {
  readonly email: string;
  /** One of the roles; empty means member. */
  readonly role: string;
  readonly groups: readonly string[];
}

type Inviter = Pick<Caller, 'orgId' | 'userId' | 'role'>;

/** An invitation that nobody followed is worth nothing after a week. */
const invitationMs = 7 * 86_400_000;
const tokenPattern = /^[A-Za-z0-9_-]{43}$/;

/**
 * Invites a person. Whoever logs in by the link with that address, verified by the identity provider, becomes a member; once.
 * An earlier open invitation of the address stops working.
 *
 * @returns The invitation, and the link, which exists here and nowhere else.
 * @throws KontextError `KX_REQUEST_INVALID`; `KX_FORBIDDEN` when somebody else than an owner invites an owner.
 */
export async function inviteMember(
  deps: InvitationDeps,
  caller: Inviter,
  input: NewInvitation,
): Promise<{ readonly invitation: InvitationRow; readonly link: string }> {
  const email = parseEmail(input.email);
  const role = roles.find((known) => known === (input.role || 'member'));
  const badGroup = input.groups.find((group) => !/^[^\p{C}]{1,200}$/u.test(group));
  if (email === null) throw invalid('that is not an e-mail address');
  if (role === undefined) throw invalid(`no such role (there are ${roles.join(', ')})`);
  if (badGroup !== undefined || input.groups.length > 100) throw invalid('a group is not a name');
  if (role === 'owner' && caller.role !== 'owner')
    throw new KontextError('KX_FORBIDDEN', 'only an owner may invite an owner', {
      why: `your role is ${caller.role}`,
    });
  const token = randomBytes(32).toString('base64url');
  const { orgId, userId } = caller;
  const now = new Date(deps.nowMs());
  const invitation: InvitationRow = {
    id: createId('inv', now.getTime()),
    ...{ orgId, email, role, invitedBy: userId, createdAt: now },
    groups: [...new Set(input.groups)],
    tokenHash: hashToken(token),
    expiresAt: new Date(now.getTime() + invitationMs),
    ...{ acceptedAt: null, acceptedBy: null, revokedAt: null },
  };
  const facts = { invitation: invitation.id, email, role, groups: invitation.groups };
  await deps.store.transaction({ role: 'app', orgId }, async (tx) => {
    await insertInvitation(tx, invitation);
    await appendServerEvent(
      tx,
      { orgId, sessionId: null },
      { kind: 'member.invited', user: userId, facts },
      now,
    );
  });
  deps.appended.notify(orgId);
  return { invitation, link: `${deps.apiUrl}/invite/${token}` };
}

/** Open invitations, newest first. */
export const listInvitations = (
  { store, nowMs }: InvitationDeps,
  { orgId }: Pick<Caller, 'orgId'>,
): Promise<InvitationRow[]> =>
  store.transaction({ role: 'read', orgId }, (tx) => listOpenInvitations(tx, orgId, new Date(nowMs())));

/** Takes an invitation back. @throws KontextError `KX_NOT_FOUND` when there is no open one of that id. */
export async function revokeInvitation(
  deps: InvitationDeps,
  { orgId, userId }: Pick<Caller, 'orgId' | 'userId'>,
  id: string,
): Promise<void> {
  const now = new Date(deps.nowMs());
  await deps.store.transaction({ role: 'app', orgId }, async (tx) => {
    const row = await revokeInvitationRow(tx, orgId, id, now);
    if (row === null)
      throw new KontextError('KX_NOT_FOUND', 'there is no open invitation of that id', {
        why: 'it was used, withdrawn or has expired',
      });
    const facts = { invitation: id, email: row.email };
    await appendServerEvent(
      tx,
      { orgId, sessionId: null },
      { kind: 'invitation.revoked', user: userId, facts },
      now,
    );
  });
  deps.appended.notify(orgId);
}

/** The open invitation a link was made for. @throws KontextError `KX_INVITATION_INVALID`. */
export async function findInvitation(
  { store, nowMs }: Pick<InvitationDeps, 'store' | 'nowMs'>,
  token: string,
): Promise<{ readonly invitation: InvitationRow; readonly orgName: string }> {
  const found = tokenPattern.test(token)
    ? await store.transaction({ role: 'system', orgId: null }, (tx) =>
        findOpenInvitation(tx, hashToken(token), new Date(nowMs())),
      )
    : null;
  if (found !== null) return found;
  throw new KontextError('KX_INVITATION_INVALID', 'this invitation does not work', {
    why: 'it was used, withdrawn or has expired, or the link is not complete',
  });
}

const hashToken = (token: string): string =>
  createHash('sha256').update(`kontext-invitation-v1:${token}`).digest('base64url');

const invalid = (message: string): KontextError => new KontextError('KX_REQUEST_INVALID', message);
