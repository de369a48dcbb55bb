/**
 * Fresh confirmation (RFC 9470, trust.md §4): an action that changes authority is refused until a person has confirmed it in
 * a browser, logged in there at most five minutes before, with more than a device login.
 *
 * - A confirmation belongs to one person, one login of theirs, and one request: a keyed hash of method and message.
 * - It works once, within ten minutes. When the action then fails for a reason of its own (`KX_PROVIDER_EXISTS`, say), it
 *   is given back: the person consented to this very request, and an identical one may try again while it lives.
 * - Everything that happens to it stands in the organisation's admin stream, refused attempts too.
 */
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { createId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { appendServerEvent } from '../audit/append-server-event.ts';
import type { Caller } from '../caller.ts';
import {
  type ConfirmationRow,
  decideConfirmation,
  findConfirmation,
  findConfirmationByToken,
  findLoginMachine,
  insertConfirmation,
  listUserNames,
  returnConfirmation,
  useConfirmation,
} from '../store/queries/confirmations.ts';
import type { Store } from '../store/store.ts';
import type { Tx } from '../store/tx.ts';
import { type BrowserAccount, federatedAcr, passcodeAcr } from './browser-sessions.ts';
import { hashOidcId } from './oidc-adapter.ts';
import { type RateLimit, type RateLimiter, refuseBeyond } from './rate-limiter.ts';

/** What a login at the browser must be to confirm (RFC 9470 §4). */
export const browserAcr = 'urn:kontext:acr:browser';
/** How a person can be logged in at our pages; a device login is none of these. */
const strongAcrs: ReadonlySet<string> = new Set([passcodeAcr, federatedAcr]);
/** Seconds such a login may be old. */
export const freshLoginSeconds = 300;
/** Seconds a confirmation lives, from the moment it is asked for. */
export const confirmationSeconds = 600;
/** Confirmations asked for in one person's name: more would only tire them. */
export const confirmationsAsked: RateLimit = { name: 'confirmation', limit: 60, windowSeconds: 600 };
/** Attempts with a confirmation that does not fit; beyond it they are refused without being recorded one by one. */
const confirmationsRefused: RateLimit = { name: 'confirmation-refused', limit: 60, windowSeconds: 600 };
/** A person has to read it all: what cannot be shown cannot be confirmed. In UTF-16 units. */
const maxSummaryLength = 4000;

/** What somebody wants to do. */
export interface ProtectedAction {
  /** Name of the RPC, `ProviderService/AddProvider`. */
  readonly action: string;
  /** The request message in its binary form. */
  readonly message: Uint8Array;
  /** What the person is to confirm, see `confirmation-sentences.ts`. */
  readonly summary: string;
  /** Where the request came from. */
  readonly address: string;
}

/** A confirmation as its page shows it. */
export interface ShownConfirmation {
  readonly state: 'pending' | 'decided' | 'expired';
  readonly action: string;
  readonly summary: string;
  readonly machine: string | null;
  readonly address: string;
  readonly ageSeconds: number;
}

/** Whoever asks, as far as a confirmation is bound to them. */
export type Requester = Pick<Caller, 'userId' | 'orgId' | 'grantId'>;

/** How far a confirmation has come. */
export type ConfirmationState = 'pending' | 'confirmed' | 'denied' | 'used' | 'expired';

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

/** What confirmations need. */
export interface ConfirmationDeps {
  readonly store: Store;
  readonly apiUrl: string;
  /** Keys of 32 bytes, active first: `keys.derive('confirmation')`. */
  readonly keys: readonly Buffer[];
  readonly limiter: RateLimiter;
  readonly nowMs: () => number;
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

async function ask(
  deps: ConfirmationDeps,
  caller: Requester,
  wanted: ProtectedAction,
): Promise<KontextError> {
  const { orgId, userId } = caller;
  refuseBeyond(await deps.limiter.count(confirmationsAsked, userId), 'too many confirmations were asked for');
  if (wanted.summary.length > maxSummaryLength) throw tooLong(wanted.summary.length);
  const nowMs = deps.nowMs();
  const [id, token] = [createId('cnf', nowMs), randomBytes(32).toString('base64url')];
  const requesterGrantHash = hashOidcId('Grant', caller.grantId);
  const { action, address } = wanted;
  await deps.store.transaction({ role: 'app', orgId }, async (tx) => {
    const summary = await nameMembers(tx, wanted.summary);
    // Once more, with the names in it: the page cuts what is longer, and people choose their names.
    if (summary.length > maxSummaryLength) throw tooLong(summary.length);
    const machine = await findLoginMachine(tx, requesterGrantHash);
    await insertConfirmation(tx, {
      ...{ id, orgId, userId, action, summary, requesterGrantHash, machine, address },
      requestHash: hashesOf(deps, caller, wanted)[0] ?? '',
      tokenHash: hashToken(token),
      state: 'pending',
      ...{ authAt: null, acr: null, decidedAt: null, usedAt: null },
      createdAt: new Date(nowMs),
      expiresAt: new Date(nowMs + confirmationSeconds * 1000),
    });
    const facts = { confirmation: id, action, summary, machine, address };
    await record(tx, caller, new Date(nowMs), facts, 'approval.requested');
  });
  return new KontextError('KX_CONFIRMATION_NEEDED', `confirm in the browser to ${wanted.summary}`, {
    details: {
      oauth_error: 'insufficient_user_authentication',
      acr_values: browserAcr,
      max_age: freshLoginSeconds,
      confirmation_id: id,
      confirm_uri: `${deps.apiUrl}/confirm/${token}`,
    },
  });
}

async function take(
  deps: ConfirmationDeps,
  caller: Requester,
  id: string,
  wanted: ProtectedAction,
): Promise<void> {
  const { orgId, userId } = caller;
  const now = new Date(deps.nowMs());
  const use = {
    ...{ id, userId, requesterGrantHash: hashOidcId('Grant', caller.grantId) },
    requestHashes: hashesOf(deps, caller, wanted),
  };
  const used = await deps.store.transaction({ role: 'app', orgId }, async (tx) => {
    const row = await useConfirmation(tx, use, now);
    if (row !== null) {
      const facts = { confirmation: id, action: wanted.action, decision: 'used', address: wanted.address };
      await record(tx, caller, now, facts);
    }
    return row !== null;
  });
  if (used) return;
  refuseBeyond(await deps.limiter.count(confirmationsRefused, userId), 'too many confirmations were refused');
  throw await deps.store.transaction({ role: 'app', orgId }, async (tx) => {
    const row = await findConfirmation(tx, userId, id);
    const refusal = explain(row, use, deps.nowMs());
    // What was sent as an id came from outside: it is recorded only when there is such a confirmation.
    const facts = { confirmation: row?.id ?? null, action: wanted.action, decision: 'refused' };
    await record(tx, caller, now, { ...facts, reason: refusal.why, address: wanted.address });
    return refusal;
  });
}

/** Why a confirmation was not used. What is not the caller's looks like what does not exist. */
function explain(
  row: ConfirmationRow | null,
  use: { readonly requestHashes: readonly string[]; readonly requesterGrantHash: string },
  nowMs: number,
): KontextError {
  if (row === null) return invalid('unknown', 'there is no such confirmation of yours');
  if (row.requesterGrantHash !== use.requesterGrantHash) {
    return invalid('other_login', 'another login asked for it');
  }
  if (!use.requestHashes.includes(row.requestHash)) {
    return invalid('other_request', 'another request was confirmed');
  }
  return refusalOf(stateAt(row, nowMs));
}

function refusalOf(state: ConfirmationState): KontextError {
  switch (state) {
    case 'denied':
      return new KontextError('KX_CONFIRMATION_DENIED', 'the action was denied in the browser', {
        details: { failure_reason: 'denied' },
      });
    case 'expired':
      return new KontextError('KX_CONFIRMATION_EXPIRED', 'the confirmation has expired', {
        details: { failure_reason: 'expired' },
      });
    case 'pending':
      return invalid('pending', 'nobody has confirmed it yet');
    default:
      return invalid(state, state === 'used' ? 'it was used before' : 'it was decided before');
  }
}

const invalid = (reason: string, why: string): KontextError =>
  new KontextError('KX_CONFIRMATION_INVALID', 'the confirmation cannot be used', {
    why,
    details: { failure_reason: reason },
  });

const tooLong = (length: number): KontextError =>
  new KontextError('KX_REQUEST_INVALID', 'the request is too long to be confirmed by a person', {
    why: `said in words it takes ${length} characters of ${maxSummaryLength}`,
  });

const notFound = (): KontextError =>
  new KontextError('KX_NOT_FOUND', 'there is no such confirmation, or it is not yours');

function stateAt(row: ConfirmationRow, nowMs: number): ConfirmationState {
  const isOver = row.expiresAt.getTime() <= nowMs;
  return isOver && (row.state === 'pending' || row.state === 'confirmed') ? 'expired' : row.state;
}

/**
 * RFC 9470: the login must be fresh, and more than what a terminal can get by itself.
 *
 * @throws KontextError `KX_FORBIDDEN` when it is not.
 */
export function checkFresh({ loggedInAtMs, acr }: BrowserAccount, nowMs: number): void {
  const isStrong = strongAcrs.has(acr);
  if (isStrong && nowMs - loggedInAtMs <= freshLoginSeconds * 1000) return;
  throw new KontextError('KX_FORBIDDEN', 'the login at this browser does not suffice', {
    why: isStrong ? 'it is older than 5 minutes' : 'it was not made by a person at a browser',
    hint: 'log in again, and open the link once more',
  });
}

const hashToken = (token: string): string => createHash('sha256').update(token).digest('base64url');

/** `HMAC(key, version ‖ organisation ‖ user ‖ method ‖ message)`; the first four hold no NUL, which ends each of them. */
function hashesOf(deps: ConfirmationDeps, caller: Requester, { action, message }: ProtectedAction): string[] {
  const context = ['kontext-confirmation-v1', caller.orgId, caller.userId, action].join('\0');
  return deps.keys.map((key) =>
    createHmac('sha256', key).update(`${context}\0`).update(message).digest('base64url'),
  );
}

/** People know each other by name: each id in the sentence gets its name in front. Ids stand in quotes there, so the name is escaped. */
async function nameMembers(tx: Tx, summary: string): Promise<string> {
  const pattern = /\busr_[0-9a-f-]{36}\b/g;
  const names = await listUserNames(tx, [...new Set(summary.match(pattern) ?? [])]);
  return summary.replace(pattern, (id) => {
    const name = names.get(id);
    return name === undefined ? id : `${JSON.stringify(name).slice(1, -1)} (${id})`;
  });
}

async function record(
  tx: Tx,
  { orgId, userId }: Pick<Requester, 'orgId' | 'userId'>,
  now: Date,
  facts: Readonly<Record<string, unknown>>,
  kind: 'approval.requested' | 'approval.decided' = 'approval.decided',
): Promise<void> {
  await appendServerEvent(tx, { orgId, sessionId: null }, { kind, user: userId, facts }, now);
}
