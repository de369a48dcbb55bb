/**
 * Fresh confirmation (RFC 9470, trust.md §4): an action that changes authority is refused until a person has confirmed it in
 * a browser, logged in there at most five minutes before, with more than a device login.
 *
 * - A confirmation belongs to one person, one login of theirs, and one request: a keyed hash of method and message.
 * - It works once, within ten minutes. When the action then fails for a reason of its own (`KX_PROVIDER_EXISTS`, say), it
 *   is given back: the person consented to this very request, and an identical one may try again while it lives.
 * - Everything that happens to it stands in the organisation's admin stream, refused attempts too.
 */
import type { KontextError } from '@kontext/errors';
import type { Caller } from '../caller.ts';
import {
  type ConfirmationRow,
  decideConfirmation,
  findConfirmation,
  findConfirmationByToken,
  returnConfirmation,
} from '../store/queries/confirmations.ts';
import type { Tx } from '../store/tx.ts';
import type { BrowserAccount } from './browser-sessions.ts';
import { type ConfirmationState, notFound, refusalOf, stateAt } from './confirmation-state.ts';
import { checkFresh } from './fresh-login.ts';
import {
  ask,
  type ConfirmationDeps,
  hashToken,
  type ProtectedAction,
  type Requester,
  record,
  take,
} from './request-confirmation.ts';

/** A confirmation as its page shows it. */
export interface ShownConfirmation {
  readonly state: 'pending' | 'decided' | 'expired';
  readonly action: string;
  readonly summary: string;
  readonly machine: string | null;
  readonly address: string;
  readonly ageSeconds: number;
}

/** Confirmations of one backend. */
export interface Confirmations {
  /** Makes a confirmation and the refusal that tells of it: `KX_CONFIRMATION_NEEDED`. @throws KontextError `KX_RATE_LIMITED`. */
  ask(caller: Requester, wanted: ProtectedAction): Promise<KontextError>;
  /**
   * Uses a confirmation up for this very request.
   *
   * @throws KontextError `KX_CONFIRMATION_INVALID`, `KX_CONFIRMATION_DENIED`, `KX_CONFIRMATION_EXPIRED`, `KX_RATE_LIMITED`.
   */
  take(caller: Requester, id: string, wanted: ProtectedAction): Promise<void>;
  /** Gives back what {@link Confirmations.take} took: the action failed for a reason of its own. */
  giveBack(caller: Requester, id: string, reason: string): Promise<void>;
  /** @throws KontextError `KX_NOT_FOUND` for one that is not the caller's. */
  stateOf(caller: Pick<Caller, 'userId' | 'orgId'>, id: string): Promise<ConfirmationState>;
  /** What a link leads to. @throws KontextError `KX_NOT_FOUND` for a link of somebody else, or none. */
  show(opener: BrowserAccount, token: string): Promise<ShownConfirmation>;
  /**
   * Decides, once.
   *
   * @throws KontextError `KX_NOT_FOUND` as {@link Confirmations.show}; `KX_CONFIRMATION_INVALID` when it was decided before,
   *   `KX_CONFIRMATION_EXPIRED`, `KX_FORBIDDEN` when the login is too old or too weak.
   */
  decide(
    opener: BrowserAccount,
    token: string,
    decision: 'confirmed' | 'denied',
    address: string,
  ): Promise<void>;
}

/** Creates the confirmations. */
export function createConfirmations(deps: ConfirmationDeps): Confirmations {
  const app = <T>(orgId: string, work: (tx: Tx) => Promise<T>): Promise<T> =>
    deps.store.transaction({ role: 'app', orgId }, work);
  const now = (): Date => new Date(deps.nowMs());
  const find = async (opener: BrowserAccount, token: string): Promise<ConfirmationRow> => {
    const row = await app(opener.orgId, (tx) => findConfirmationByToken(tx, opener.userId, hashToken(token)));
    if (row === null) throw notFound();
    return row;
  };
  return {
    ask: (caller, wanted) => ask(deps, caller, wanted),
    take: (caller, id, wanted) => take(deps, caller, id, wanted),
    giveBack: (caller, id, reason) =>
      app(caller.orgId, async (tx) => {
        await returnConfirmation(tx, id);
        await record(tx, caller, now(), { confirmation: id, decision: 'returned', reason });
      }),
    stateOf: async ({ orgId, userId }, id) => {
      const row = await app(orgId, (tx) => findConfirmation(tx, userId, id));
      if (row === null) throw notFound();
      return stateAt(row, deps.nowMs());
    },
    show: async (opener, token) => {
      const row = await find(opener, token);
      const state = stateAt(row, deps.nowMs());
      const { action, summary, machine, address } = row;
      return {
        ...{ action, summary, machine, address },
        state: state === 'pending' || state === 'expired' ? state : 'decided',
        ageSeconds: Math.max(0, Math.floor((deps.nowMs() - row.createdAt.getTime()) / 1000)),
      };
    },
    decide: async (opener, token, decision, address) => {
      checkFresh(opener, deps.nowMs());
      const { id, action } = await find(opener, token);
      const { acr, orgId, userId } = opener;
      const authAt = new Date(opener.loggedInAtMs);
      const decided = await app(orgId, async (tx) => {
        const row = await decideConfirmation(tx, id, { state: decision, authAt, acr }, now());
        const facts = { confirmation: id, action, decision, acr, authAt: authAt.toISOString(), address };
        if (row !== null) await record(tx, { orgId, userId }, now(), facts);
        return row;
      });
      if (decided !== null) return;
      throw refusalOf(stateAt(await find(opener, token), deps.nowMs()));
    },
  };
}
