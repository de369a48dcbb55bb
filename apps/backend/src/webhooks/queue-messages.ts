import { createId } from '@kontext/audit';
import { insertDeliveries, listListeners } from '../store/queries/webhooks.ts';
import type { Tx } from '../store/tx.ts';

/** Events a webhook can hear of. */
export const webhookEvents = ['approval.requested', 'approval.decided'] as const;
/** One of {@link webhookEvents}. */
export type WebhookEvent = (typeof webhookEvents)[number];

/**
 * Stores a message for every webhook of the organisation that wants to hear of an event, in the transaction that makes it.
 *
 * @param message Members of the body beside `type` and `timestamp`; nothing secret may stand in them.
 */
export async function queueMessages(
  tx: Tx,
  orgId: string,
  event: WebhookEvent,
  message: Readonly<Record<string, unknown>>,
  now: Date,
): Promise<void> {
  const listeners = await listListeners(tx, orgId, event);
  const body = JSON.stringify({ type: event, timestamp: now.toISOString(), ...message });
  await insertDeliveries(
    tx,
    listeners.map((webhookId) => ({
      ...{ id: createId('whd', now.getTime()), orgId, webhookId, event, body, state: 'waiting' as const },
      ...{ attempts: 0, dueAt: now, status: null, error: '', createdAt: now, deliveredAt: null },
    })),
  );
}
