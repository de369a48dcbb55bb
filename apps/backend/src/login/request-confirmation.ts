/** The side of whoever wants to act: asks for a confirmation, and uses it up for this very request. */
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { createId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { appendServerEvent } from '../audit/append-server-event.ts';
import type { Caller } from '../caller.ts';
import {
  findConfirmation,
  findLoginMachine,
  insertConfirmation,
  listUserNames,
  useConfirmation,
} from '../store/queries/confirmations.ts';
import type { Store } from '../store/store.ts';
import type { Tx } from '../store/tx.ts';
import { explain } from './confirmation-state.ts';
import { browserAcr, freshLoginSeconds } from './fresh-login.ts';
import { hashOidcId } from './oidc-adapter.ts';
import { type RateLimit, type RateLimiter, refuseBeyond } from './rate-limiter.ts';

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

/** Whoever asks, as far as a confirmation is bound to them. */
export type Requester = Pick<Caller, 'userId' | 'orgId' | 'grantId'>;

/** What confirmations need. */
export interface ConfirmationDeps {
  readonly store: Store;
  readonly apiUrl: string;
  /** Keys of 32 bytes, active first: `keys.derive('confirmation')`. */
  readonly keys: readonly Buffer[];
  readonly limiter: RateLimiter;
  readonly nowMs: () => number;
}

/** Makes a confirmation, see `Confirmations.ask`. */
export async function ask(
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

/** Uses a confirmation up, see `Confirmations.take`. */
export async function take(
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

const tooLong = (length: number): KontextError =>
  new KontextError('KX_REQUEST_INVALID', 'the request is too long to be confirmed by a person', {
    why: `said in words it takes ${length} characters of ${maxSummaryLength}`,
  });

/** What is stored of the token in a link. */
export const hashToken = (token: string): string => createHash('sha256').update(token).digest('base64url');

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

/** Writes what happened to a confirmation into the organisation's admin stream. */
export async function record(
  tx: Tx,
  { orgId, userId }: Pick<Requester, 'orgId' | 'userId'>,
  now: Date,
  facts: Readonly<Record<string, unknown>>,
  kind: 'approval.requested' | 'approval.decided' = 'approval.decided',
): Promise<void> {
  await appendServerEvent(tx, { orgId, sessionId: null }, { kind, user: userId, facts }, now);
}
