/**
 * Sends messages to webhooks, at least once each.
 *
 * - A message is claimed before it is sent, so that no two replicas send it; whoever claimed it and died lets go of it soon.
 * - Receivers are called beside each other, each webhook and each organisation in so many places: one that hangs holds up no
 *   other.
 * - Whatever is not 2xx is tried again, later and later, spread at random over the whole pause (full jitter), for a day.
 * - 410 means that nobody is there any more: the webhook is disabled. So it is when a message was given up and nothing was
 *   delivered for three days.
 */
import { appendServerEvent } from '../audit/append-server-event.ts';
import {
  claimDeliveries,
  type DeliveryRow,
  disableWebhook,
  findKeyedWebhook,
  type KeyedWebhook,
  settleDelivery,
  updateWebhook,
  type WebhookRow,
} from '../store/queries/webhooks.ts';
import type { SenderDeps } from './deps.ts';
import { type Attempt, postSigned } from './post-signed.ts';
import { createSendPool, type SendPool } from './send-pool.ts';

const hourMs = 60 * 60_000;
/** Messages on their way at once. */
const limits = { total: 100, perOrg: 10, perTarget: 4 } as const;
/** A claim ends by itself: longer than sending can take. */
const claimMs = 60_000;
const firstPauseMs = 5_000;
const longestPauseMs = hourMs;
const givenUpAfterMs = 24 * hourMs;
const disabledAfterMs = 72 * hourMs;

/** Creates what sends messages that are due; start it every second on every replica. */
export function createMessagePool(deps: SenderDeps): SendPool {
  return createSendPool({
    limits,
    claim: async (free, busy) => {
      const nowMs = deps.nowMs();
      const wanted = { limit: free, busy, perOrg: limits.perOrg, perWebhook: limits.perTarget };
      const rows = await deps.store.transaction({ role: 'system', orgId: null }, (tx) =>
        claimDeliveries(tx, new Date(nowMs), new Date(nowMs + claimMs), wanted),
      );
      return rows.map((delivery) => ({ orgId: delivery.orgId, targetId: delivery.webhookId, delivery }));
    },
    work: ({ delivery }) => deliver(deps, delivery),
  });
}

async function deliver(deps: SenderDeps, delivery: DeliveryRow): Promise<void> {
  const { orgId, webhookId } = delivery;
  const keyed = await deps.store.transaction({ role: 'app', orgId }, (tx) =>
    findKeyedWebhook(tx, orgId, webhookId),
  );
  // It was removed just now, and its messages with it; of a disabled one they are given up already.
  if (keyed === null || keyed.webhook.disabledAt !== null) return;
  const attempt = await sendMessage(deps, keyed, delivery.id, delivery.body);
  await settle(deps, keyed.webhook, delivery, attempt);
}

/** Signs and sends one message. */
export const sendMessage = (
  deps: Pick<SenderDeps, 'kms' | 'fetch' | 'nowMs'>,
  { webhook: { id: webhookId, orgId, url }, secret }: KeyedWebhook,
  id: string,
  body: string,
): Promise<Attempt> =>
  postSigned(deps, { receiver: { kind: 'webhook', id: webhookId, orgId }, url, sealed: secret, id, body });

async function settle(
  deps: SenderDeps,
  webhook: WebhookRow,
  delivery: DeliveryRow,
  { status, error, retryAfterMs }: Attempt,
): Promise<void> {
  const { orgId, id: webhookId } = webhook;
  const now = new Date(deps.nowMs());
  await deps.store.transaction({ role: 'app', orgId }, async (tx) => {
    if (error === '') {
      await updateWebhook(tx, webhookId, { lastDeliveredAt: now, lastError: '' });
      await settleDelivery(tx, delivery.id, { state: 'delivered', status, error, deliveredAt: now });
      return;
    }
    const isGivenUp = status === 410 || now.getTime() - delivery.createdAt.getTime() >= givenUpAfterMs;
    const waitMs = Math.max(pauseMs(delivery.attempts, firstPauseMs, deps.random), retryAfterMs);
    const dueAt = new Date(now.getTime() + waitMs);
    // The webhook's row first, as whoever removes it does.
    await updateWebhook(tx, webhookId, { lastError: error });
    await settleDelivery(tx, delivery.id, { status, error, ...(isGivenUp ? { state: 'dead' } : { dueAt }) });
    if (!isGivenUp || (status !== 410 && !isSilent(webhook, now))) return;
    const disabled = await disableWebhook(tx, webhookId, error, now);
    if (disabled === null) return;
    const facts = { webhook: webhookId, host: new URL(webhook.url).host, reason: error };
    await appendServerEvent(tx, { orgId, sessionId: null }, { kind: 'webhook.disabled', facts }, now);
  });
  deps.appended.notify(orgId);
}

/** Nothing was delivered for days. */
const isSilent = ({ lastDeliveredAt, createdAt }: WebhookRow, now: Date): boolean =>
  now.getTime() - (lastDeliveredAt ?? createdAt).getTime() >= disabledAfterMs;

/**
 * Pause before the next attempt, in milliseconds: anywhere up to the first one, doubled with each attempt, at most an hour.
 *
 * @param attempts Attempts made, from 1.
 * @param firstMs Longest pause after the first attempt.
 */
export function pauseMs(attempts: number, firstMs: number, random: () => number = Math.random): number {
  const most = Math.min(longestPauseMs, firstMs * 2 ** Math.min(30, Math.max(0, attempts - 1)));
  return Math.floor(random() * most);
}
