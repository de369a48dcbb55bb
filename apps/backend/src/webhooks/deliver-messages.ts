/**
 * Sends messages to webhooks, at least once each.
 *
 * - A message is claimed before it is sent, so that no two replicas send it; whoever claimed it and died lets go of it soon.
 * - Whatever is not 2xx is tried again, later and later, spread at random over the whole pause (full jitter), for a day.
 * - 410 means that nobody is there any more: the webhook is disabled. So it is when a message was given up and nothing was
 *   delivered for three days.
 */
import { KontextError } from '@kontext/errors';
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
import { openWebhookSecret, type WebhookDeps } from './deps.ts';
import { signMessage } from './sign-message.ts';

const hourMs = 60 * 60_000;
/** Messages claimed and sent together. */
const batchSize = 20;
/** A claim ends by itself: longer than sending can take. */
const claimMs = 60_000;
const firstPauseMs = 5_000;
const longestPauseMs = hourMs;
const givenUpAfterMs = 24 * hourMs;
const disabledAfterMs = 72 * hourMs;
const timeoutMs = 10_000;
/** What a receiver says is not read, only counted. */
const maxAnswerBytes = 64 * 1024;

/** What came back: an HTTP status, or 0 and why none came. */
export interface Attempt {
  readonly status: number;
  /** Empty for 2xx; never what the receiver sent. */
  readonly error: string;
}

/** Sends what is due; run it every second on every replica. */
export async function deliverMessages(deps: WebhookDeps): Promise<void> {
  for (;;) {
    const nowMs = deps.nowMs();
    const claimed = await deps.store.transaction({ role: 'system', orgId: null }, (tx) =>
      claimDeliveries(tx, new Date(nowMs), new Date(nowMs + claimMs), batchSize),
    );
    const outcomes = await Promise.allSettled(claimed.map((delivery) => deliver(deps, delivery)));
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    if (claimed.length < batchSize) return;
  }
}

async function deliver(deps: WebhookDeps, delivery: DeliveryRow): Promise<void> {
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
export async function sendMessage(
  deps: Pick<WebhookDeps, 'kms' | 'fetch' | 'nowMs'>,
  keyed: KeyedWebhook,
  id: string,
  body: string,
): Promise<Attempt> {
  try {
    const secret = await openWebhookSecret(deps.kms, keyed);
    const headers = signMessage(secret, id, new Date(deps.nowMs()), body);
    const request = { method: 'POST', headers, body, timeoutMs, maxBodyBytes: maxAnswerBytes } as const;
    const { status } = await deps.fetch(keyed.webhook.url, request);
    const isTaken = status >= 200 && status < 300;
    return { status, error: isTaken ? '' : `it answered ${status}` };
  } catch (error) {
    return {
      status: 0,
      error: error instanceof KontextError ? error.why || error.message : 'it could not be sent',
    };
  }
}

async function settle(
  deps: WebhookDeps,
  webhook: WebhookRow,
  delivery: DeliveryRow,
  { status, error }: Attempt,
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
    const dueAt = new Date(now.getTime() + pauseMs(delivery.attempts, deps.random));
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
 * Pause before the next attempt, in milliseconds: anywhere up to 5 s after the first, doubled with each, at most an hour.
 *
 * @param attempts Attempts made, from 1.
 */
export function pauseMs(attempts: number, random: () => number = Math.random): number {
  const most = Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(30, Math.max(0, attempts - 1)));
  return Math.floor(random() * most);
}
