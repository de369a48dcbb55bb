import { KontextError } from '@kontext/errors';
import type { AppendSignal } from '../audit/append-signal.ts';
import type { Caller } from '../caller.ts';
import { findLogin, findOrgSlug, type LoginRow, listLiveLogins } from '../store/queries/logins.ts';
import { findMember } from '../store/queries/members.ts';
import type { Store } from '../store/store.ts';
import type { Tx } from '../store/tx.ts';
import { type EndedLogins, endLogins } from './end-logins.ts';
import { idleSeconds } from './logins.ts';
import { hashOidcId } from './oidc-adapter.ts';

/** A login as its owner sees it. */
export interface ShownLogin {
  /** Names it: `lgn_` and the hash of its grant. */
  readonly id: string;
  readonly login: LoginRow;
  readonly idleExpiresAt: Date;
  /** Whether the caller calls with it. */
  readonly current: boolean;
}

/** Which logins to end; an empty `loginId` means all of the person, an empty `userId` the caller. */
export interface WhichLogins {
  readonly loginId: string;
  readonly userId: string;
}

/** Logins of terminals as their edge uses them. */
export interface ManagedLogins {
  /** The login of this call and the organisation's short name; no login for a caller without one. */
  current(caller: Caller): Promise<{ readonly login: ShownLogin | null; readonly orgSlug: string }>;
  /**
   * Live logins, newest first.
   *
   * @throws KontextError `KX_FORBIDDEN` for somebody else's, `KX_NOT_FOUND` when there is no such member.
   */
  list(caller: Caller, userId: string): Promise<readonly ShownLogin[]>;
  /**
   * Ends logins with everything below them. Whether a person has to confirm it is the table's matter.
   *
   * @throws KontextError `KX_FORBIDDEN` for somebody else's, `KX_NOT_FOUND` when there is no such login or member.
   */
  revoke(caller: Caller, which: WhichLogins): Promise<EndedLogins>;
}

/** What managing needs. */
export interface ManageLoginsDeps {
  readonly store: Store;
  readonly appended: AppendSignal;
  readonly nowMs: () => number;
}

const guardians: ReadonlySet<string> = new Set(['owner', 'admin', 'security']);
const idPrefix = 'lgn_';

/** Creates what the edge needs. */
export function createManagedLogins({ store, appended, nowMs }: ManageLoginsDeps): ManagedLogins {
  const show = (caller: Caller, login: LoginRow): ShownLogin => ({
    id: `${idPrefix}${login.grantIdHash}`,
    login,
    idleExpiresAt: new Date(login.lastUsedAt.getTime() + idleSeconds * 1000),
    current: login.grantIdHash === hashOidcId('Grant', caller.grantId),
  });
  return {
    current: (caller) =>
      store.transaction({ role: 'read', orgId: caller.orgId }, async (tx) => {
        const login = await findLogin(tx, hashOidcId('Grant', caller.grantId));
        return { login: login && show(caller, login), orgSlug: await findOrgSlug(tx, caller.orgId) };
      }),
    list: (caller, asked) =>
      store.transaction({ role: 'read', orgId: caller.orgId }, async (tx) => {
        const now = nowMs();
        const userId = await checkPerson(tx, caller, asked);
        const idleSince = new Date(now - idleSeconds * 1000);
        const logins = await listLiveLogins(tx, userId, new Date(now), idleSince);
        return logins.map((login) => show(caller, login));
      }),
    revoke: async (caller, { loginId, userId: asked }) => {
      const filter = await store.transaction({ role: 'read', orgId: caller.orgId }, async (tx) => {
        const userId = await checkPerson(tx, caller, asked);
        return { userId, grantIdHash: loginId === '' ? undefined : await checkLogin(tx, userId, loginId) };
      });
      const ended = await store.transaction({ role: 'system', orgId: null }, (tx) =>
        endLogins(tx, caller.orgId, filter, 'revoked', new Date(nowMs())),
      );
      appended.notify(caller.orgId);
      return ended;
    },
  };
}

/** The person meant; somebody else only for who guards the organisation. The transaction sees no other one. */
async function checkPerson(tx: Tx, caller: Caller, asked: string): Promise<string> {
  if (asked === '' || asked === caller.userId) return caller.userId;
  if (!guardians.has(caller.role)) {
    throw new KontextError('KX_FORBIDDEN', 'these are the logins of somebody else', {
      why: `your role is ${caller.role}`,
    });
  }
  if ((await findMember(tx, asked)) === null)
    throw new KontextError('KX_NOT_FOUND', 'there is no such member');
  return asked;
}

async function checkLogin(tx: Tx, userId: string, loginId: string): Promise<string> {
  const grantIdHash = loginId.startsWith(idPrefix) ? loginId.slice(idPrefix.length) : '';
  const login = await findLogin(tx, grantIdHash);
  if (login?.userId !== userId) {
    throw new KontextError('KX_NOT_FOUND', 'there is no such login, or it is not yours', {
      hint: 'run `kontext logout --all` to end all of yours',
    });
  }
  return grantIdHash;
}
