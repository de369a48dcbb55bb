/**
 * The people of an organisation: who they are, what they may, whether they may at all.
 *
 * - Nobody hands out more than they have: only an owner makes, changes or suspends an owner.
 * - An organisation always has an owner who can log in.
 * - A change is effective with the next request, on every replica: roles and suspensions are read with each one.
 */
import { isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { appendServerEvent } from '../audit/append-server-event.ts';
import type { AppendSignal } from '../audit/append-signal.ts';
import type { Caller } from '../caller.ts';
import { type EndedLogins, endLogins } from '../login/end-logins.ts';
import { roles } from '../store/queries/local-accounts.ts';
import {
  type ListedMember,
  listMembers,
  lockActiveOwners,
  lockMember,
  setDisabled,
  updateMember,
} from '../store/queries/member-admin.ts';
import type { Store } from '../store/store.ts';
import type { Tx } from '../store/tx.ts';

export type { ListedMember };

/** What the work on members needs. */
export interface MemberDeps {
  readonly store: Store;
  readonly appended: Pick<AppendSignal, 'notify'>;
  readonly nowMs: () => number;
}

/** A page of members; `next` is empty on the last one. */
export interface MemberPage {
  readonly members: readonly ListedMember[];
  readonly next: string;
}

/** Members of one organisation. */
export interface Members {
  /** By name. `pageSize` 1 to 200, 0 means 50. @throws KontextError `KX_REQUEST_INVALID`. */
  list(
    caller: Pick<Caller, 'orgId'>,
    page: { readonly pageSize: number; readonly pageToken: string },
  ): Promise<MemberPage>;
  /**
   * Changes role and groups.
   *
   * @throws KontextError `KX_NOT_FOUND`, `KX_REQUEST_INVALID`, `KX_FORBIDDEN` beyond the caller's own role, `KX_LAST_OWNER`.
   */
  set(caller: Changer, change: MemberChange): Promise<ListedMember>;
  /** Takes everything from a person at once. @throws as {@link Members.set}. */
  suspend(caller: Changer, userId: string): Promise<EndedLogins>;
  /** Lets them log in again; what was ended stays ended. @throws as {@link Members.set}. */
  restore(caller: Changer, userId: string): Promise<void>;
}

/** New standing of a member. */
export interface MemberChange {
  readonly userId: string;
  readonly role: string;
  readonly groups: readonly string[];
}

type Changer = Pick<Caller, 'orgId' | 'userId' | 'role'>;

/** Creates the work on members. */
export function createMembers(deps: MemberDeps): Members {
  return {
    list: (caller, page) => list(deps, caller, page),
    set: (caller, change) => set(deps, caller, change),
    suspend: (caller, userId) => suspend(deps, caller, userId),
    restore: async (caller, userId) => {
      await changing(deps, caller, userId, 'app', async (tx, now) => {
        await setDisabled(tx, caller.orgId, userId, null);
        await record(tx, caller, 'member.changed', { member: userId, restored: true }, now);
      });
    },
  };
}

async function list(
  { store }: MemberDeps,
  { orgId }: Pick<Caller, 'orgId'>,
  page: { readonly pageSize: number; readonly pageToken: string },
): Promise<MemberPage> {
  const limit = page.pageSize === 0 ? 50 : page.pageSize;
  if (limit < 1 || limit > 200) throw invalid('page_size must be 1 to 200');
  const after = page.pageToken === '' ? null : parseCursor(page.pageToken);
  const members = await store.transaction({ role: 'read', orgId }, (tx) =>
    listMembers(tx, orgId, { after, limit }),
  );
  const last = members.at(-1);
  return { members, next: last === undefined || members.length < limit ? '' : encodeCursor(last) };
}

async function set(deps: MemberDeps, caller: Changer, change: MemberChange): Promise<ListedMember> {
  const { orgId } = caller;
  const role = roles.find((known) => known === change.role);
  if (role === undefined) throw invalid(`no such role (there are ${roles.join(', ')})`);
  const groups = parseGroups(change.groups);
  if (role === 'owner' && caller.role !== 'owner') throw beyondRole(caller, 'make somebody an owner');
  return changing(deps, caller, change.userId, 'app', async (tx, now, member) => {
    if (role !== 'owner') await keepOwner(tx, orgId, change.userId);
    await updateMember(tx, orgId, change.userId, { role, groups });
    const facts = { member: change.userId, from: member.role, role, groups };
    await record(tx, caller, 'member.changed', facts, now);
    const [changed] = await listMembers(tx, orgId, { limit: 1, userId: change.userId });
    if (changed === undefined) throw new KontextError('KX_INTERNAL', 'the member is gone');
    return changed;
  });
}

async function suspend(deps: MemberDeps, caller: Changer, userId: string): Promise<EndedLogins> {
  const { orgId } = caller;
  if (userId === caller.userId) throw invalid('nobody suspends themselves');
  return changing(deps, caller, userId, 'system', async (tx, now) => {
    await keepOwner(tx, orgId, userId);
    await setDisabled(tx, orgId, userId, now);
    const ended = await endLogins(tx, orgId, { userId }, 'suspended', now);
    await record(tx, caller, 'member.suspended', { member: userId, ...ended }, now);
    return ended;
  });
}

interface LockedMember {
  readonly role: string;
}

/** Locks a member the caller may change, and does something to them in one transaction. */
async function changing<T>(
  { store, appended, nowMs }: MemberDeps,
  caller: Changer,
  userId: string,
  role: 'app' | 'system',
  work: (tx: Tx, now: Date, member: LockedMember) => Promise<T>,
): Promise<T> {
  const { orgId } = caller;
  const result = await store.transaction({ role, orgId }, async (tx) => {
    // Before the member: everybody who changes owners locks them in the same order.
    await lockActiveOwners(tx, orgId);
    const member = isId('usr', userId) ? await lockMember(tx, orgId, userId) : null;
    if (member === null) throw new KontextError('KX_NOT_FOUND', 'there is no such member');
    if (member.role === 'owner' && caller.role !== 'owner') throw beyondRole(caller, 'change an owner');
    return work(tx, new Date(nowMs()), member);
  });
  appended.notify(orgId);
  return result;
}

/** @throws KontextError `KX_LAST_OWNER` when nobody else could still run the organisation. */
async function keepOwner(tx: Tx, orgId: string, userId: string): Promise<void> {
  const owners = await lockActiveOwners(tx, orgId);
  if (owners.length > 1 || owners[0] !== userId) return;
  throw new KontextError('KX_LAST_OWNER', 'this is the last owner who can log in');
}

const record = async (
  tx: Tx,
  { orgId, userId }: Changer,
  kind: 'member.changed' | 'member.suspended',
  facts: Readonly<Record<string, unknown>>,
  now: Date,
): Promise<void> => {
  await appendServerEvent(tx, { orgId, sessionId: null }, { kind, user: userId, facts }, now);
};

function parseGroups(groups: readonly string[]): string[] {
  const bad = groups.some((group) => !/^[^\p{C}]{1,200}$/u.test(group));
  if (bad || groups.length > 100) throw invalid('a group is not a name');
  return [...new Set(groups)];
}

const encodeCursor = ({ name, userId }: ListedMember): string =>
  Buffer.from(JSON.stringify([name, userId])).toString('base64url');

function parseCursor(token: string): { readonly name: string; readonly userId: string } {
  try {
    const [name, userId] = JSON.parse(Buffer.from(token, 'base64url').toString('utf8'));
    if (typeof name === 'string' && isId('usr', userId)) return { name, userId };
  } catch {
    // Not one of ours, as below.
  }
  throw invalid('page_token is not one of ours');
}

const invalid = (message: string): KontextError => new KontextError('KX_REQUEST_INVALID', message);

const beyondRole = ({ role }: Changer, deed: string): KontextError =>
  new KontextError('KX_FORBIDDEN', `only an owner may ${deed}`, { why: `your role is ${role}` });
