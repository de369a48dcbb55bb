import { createId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { appendServerEvent } from '../audit/append-server-event.ts';
import type { Caller } from '../caller.ts';
import { type RateLimit, refuseBeyond } from '../login/rate-limiter.ts';
import {
  type CountedWebhook,
  deleteWebhook,
  findKeyedWebhook,
  insertWebhook,
  listWebhooks,
  type WebhookRow,
} from '../store/queries/webhooks.ts';
import { isUniqueViolation } from '../store/store-errors.ts';
import { findUrlFault } from './check-url.ts';
import { createMessagePool, sendMessage } from './deliver-messages.ts';
import type { SenderDeps } from './deps.ts';
import type { Attempt } from './post-signed.ts';
import { webhookEvents } from './queue-messages.ts';
import { createSigningKey } from './signing-key.ts';

export type { CountedWebhook };

/** Webhooks as their edge uses them. Roles and confirmations are checked there. */
export interface WebhookService {
  /**
   * Adds a webhook.
   *
   * @param events Empty: all about approvals.
   * @returns With the signing key, which nobody sees again.
   * @throws KontextError `KX_WEBHOOK_INVALID` when URL or events cannot be used, or there are too many.
   */
  add(
    caller: Caller,
    url: string,
    events: readonly string[],
  ): Promise<{ readonly webhook: WebhookRow; readonly secret: string }>;
  /** @throws KontextError `KX_NOT_FOUND`. */
  remove(caller: Caller, id: string): Promise<void>;
  list(caller: Caller): Promise<readonly CountedWebhook[]>;
  /** Sends a message of type `ping` at once. @throws KontextError `KX_NOT_FOUND`, `KX_RATE_LIMITED`. */
  test(caller: Caller, id: string): Promise<Attempt>;
  /** Starts to send what is due; call it every second. @throws What an earlier message failed with. */
  start(): Promise<void>;
  /** Sends what is due and waits for it. */
  deliver(): Promise<void>;
  /** Waits for what is on its way. */
  close(): Promise<void>;
}

const maxWebhooks = 20;
const testsByUser: RateLimit = { name: 'webhook-test', limit: 20, windowSeconds: 600 };

/** Puts the webhooks together. */
export function createWebhookService(deps: SenderDeps): WebhookService {
  const { store } = deps;
  const pool = createMessagePool(deps);
  return {
    add: (caller, url, events) => add(deps, caller, url, events),
    remove: (caller, id) => remove(deps, caller, id),
    list: ({ orgId }) => store.transaction({ role: 'read', orgId }, (tx) => listWebhooks(tx, orgId)),
    test: (caller, id) => test(deps, caller, id),
    start: async () => void (await pool.start()),
    deliver: () => pool.drain(),
    close: () => pool.close(),
  };
}

async function add(
  deps: SenderDeps,
  { orgId, userId }: Caller,
  url: string,
  events: readonly string[],
): Promise<{ readonly webhook: WebhookRow; readonly secret: string }> {
  const fault = findUrlFault(url, deps.local);
  if (fault !== null) throw invalid(fault);
  const now = new Date(deps.nowMs());
  const id = createId('whk', now.getTime());
  const { secret, sealed } = await createSigningKey(deps.kms, { kind: 'webhook', id, orgId }, now);
  const webhook: WebhookRow = {
    ...{ id, orgId, url, events: checkEvents(events), secretId: sealed.id, createdBy: userId },
    ...{ createdAt: now, disabledAt: null, lastError: '', lastDeliveredAt: null },
  };
  const scope = { role: 'app', orgId } as const;
  await insert(deps, scope, webhook, sealed, now);
  deps.appended.notify(orgId);
  return { webhook, secret };
}

async function insert(
  deps: SenderDeps,
  scope: { readonly role: 'app'; readonly orgId: string },
  webhook: WebhookRow,
  sealed: Parameters<typeof insertWebhook>[2],
  now: Date,
): Promise<void> {
  try {
    await deps.store.transaction(scope, async (tx) => {
      const others = await listWebhooks(tx, scope.orgId);
      if (others.length >= maxWebhooks) throw invalid(`an organisation has at most ${maxWebhooks}`);
      await insertWebhook(tx, webhook, sealed);
      const facts = { webhook: webhook.id, host: new URL(webhook.url).host, events: webhook.events };
      const event = { kind: 'webhook.added', user: webhook.createdBy, facts } as const;
      await appendServerEvent(tx, { orgId: scope.orgId, sessionId: null }, event, now);
    });
  } catch (error) {
    throw isUniqueViolation(error) ? invalid('there is one for that URL already') : error;
  }
}

async function remove(deps: SenderDeps, { orgId, userId }: Caller, id: string): Promise<void> {
  const now = new Date(deps.nowMs());
  await deps.store.transaction({ role: 'app', orgId }, async (tx) => {
    const row = await deleteWebhook(tx, orgId, id);
    if (row === null) throw notFound();
    const facts = { webhook: id, host: new URL(row.url).host };
    const event = { kind: 'webhook.removed', user: userId, facts } as const;
    await appendServerEvent(tx, { orgId, sessionId: null }, event, now);
  });
  deps.appended.notify(orgId);
}

async function test(deps: SenderDeps, { orgId, userId }: Caller, id: string): Promise<Attempt> {
  refuseBeyond(await deps.limiter.count(testsByUser, userId), 'webhooks were tested too often');
  const keyed = await deps.store.transaction({ role: 'app', orgId }, (tx) => findKeyedWebhook(tx, orgId, id));
  if (keyed === null) throw notFound();
  const now = new Date(deps.nowMs());
  const facts = { type: 'ping', timestamp: now.toISOString(), text: 'kontext: this webhook works' };
  const body = JSON.stringify({ ...facts, data: { webhook: id } });
  return sendMessage(deps, keyed, createId('whd', now.getTime()), body);
}

function checkEvents(events: readonly string[]): string[] {
  const known: readonly string[] = webhookEvents;
  const other = events.find((event) => !known.includes(event));
  if (other !== undefined)
    throw invalid(`it wants to hear of ${JSON.stringify(other.slice(0, 80))}; known are ${known.join(', ')}`);
  return events.length === 0 ? [...known] : [...new Set(events)];
}

const invalid = (why: string): KontextError =>
  new KontextError('KX_WEBHOOK_INVALID', 'the webhook cannot be used', { why });

const notFound = (): KontextError => new KontextError('KX_NOT_FOUND', 'there is no such webhook');
