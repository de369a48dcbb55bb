/** Where organisations are told of events, and what is on its way to them. */
import { and, asc, count, eq, isNull, lte, sql } from 'drizzle-orm';
import { secrets, webhookDeliveries, webhooks } from '../schema.ts';
import type { Tx } from '../tx.ts';
import type { SecretRow } from './secrets.ts';

/** A webhook as stored. */
export type WebhookRow = typeof webhooks.$inferSelect;
/** A message on its way. */
export type DeliveryRow = typeof webhookDeliveries.$inferSelect;

/** A webhook and how many messages wait for it. */
export interface CountedWebhook {
  readonly webhook: WebhookRow;
  readonly waiting: number;
}

/** Stores a webhook and its sealed signing key. */
export async function insertWebhook(tx: Tx, row: WebhookRow, secret: SecretRow): Promise<void> {
  await tx.insert(secrets).values(secret);
  await tx.insert(webhooks).values(row);
}

/** Removes a webhook with its messages and its signing key. */
export async function deleteWebhook(tx: Tx, orgId: string, id: string): Promise<WebhookRow | null> {
  const [row] = await tx
    .delete(webhooks)
    .where(and(eq(webhooks.id, id), eq(webhooks.orgId, orgId)))
    .returning();
  if (row !== undefined) await tx.delete(secrets).where(eq(secrets.id, row.secretId));
  return row ?? null;
}

/** The organisation's webhooks, oldest first. */
export async function listWebhooks(tx: Tx, orgId: string): Promise<CountedWebhook[]> {
  const waiting = tx
    .select({ webhookId: webhookDeliveries.webhookId, waiting: count().as('waiting') })
    .from(webhookDeliveries)
    .where(eq(webhookDeliveries.state, 'waiting'))
    .groupBy(webhookDeliveries.webhookId)
    .as('waiting_deliveries');
  const rows = await tx
    .select({ webhook: webhooks, waiting: waiting.waiting })
    .from(webhooks)
    .leftJoin(waiting, eq(waiting.webhookId, webhooks.id))
    .where(eq(webhooks.orgId, orgId))
    .orderBy(asc(webhooks.id));
  return rows.map((row) => ({ webhook: row.webhook, waiting: row.waiting ?? 0 }));
}

/** A webhook with its sealed key. */
export interface KeyedWebhook {
  readonly webhook: WebhookRow;
  readonly secret: SecretRow;
}

/** A webhook with its sealed key; null when the organisation has none of that id. */
export async function findKeyedWebhook(tx: Tx, orgId: string, id: string): Promise<KeyedWebhook | null> {
  const [row] = await tx
    .select({ webhook: webhooks, secret: secrets })
    .from(webhooks)
    .innerJoin(secrets, eq(secrets.id, webhooks.secretId))
    .where(and(eq(webhooks.id, id), eq(webhooks.orgId, orgId)))
    .limit(1);
  return row ?? null;
}

/** Ids of the organisation's webhooks that want to hear of an event. */
export async function listListeners(tx: Tx, orgId: string, event: string): Promise<string[]> {
  const rows = await tx
    .select({ id: webhooks.id })
    .from(webhooks)
    .where(
      and(eq(webhooks.orgId, orgId), isNull(webhooks.disabledAt), sql`${event} = ANY(${webhooks.events})`),
    );
  return rows.map(({ id }) => id);
}

/** Stores messages that are to be sent. */
export async function insertDeliveries(tx: Tx, rows: readonly DeliveryRow[]): Promise<void> {
  if (rows.length > 0) await tx.insert(webhookDeliveries).values([...rows]);
}

/** What may be claimed at once, and of whom nothing. */
export interface DeliveryClaim {
  readonly limit: number;
  readonly perOrg: number;
  readonly perWebhook: number;
  readonly busy: { readonly orgIds: readonly string[]; readonly targetIds: readonly string[] };
}

/**
 * Takes messages that are due, so that no other replica sends them too; role `system`. Whoever took one and died lets go of it
 * at `untilAt`.
 */
export async function claimDeliveries(
  tx: Tx,
  now: Date,
  untilAt: Date,
  { limit, perOrg, perWebhook, busy }: DeliveryClaim,
): Promise<DeliveryRow[]> {
  const isDue = and(eq(webhookDeliveries.state, 'waiting'), lte(webhookDeliveries.dueAt, now));
  const texts = (ids: readonly string[]) => sql`${sql.param([...ids])}::text[]`;
  const fair = sql`SELECT id FROM (
    SELECT id, due_at, row_number() OVER (PARTITION BY webhook_id ORDER BY due_at, id) AS of_webhook,
      row_number() OVER (PARTITION BY org_id ORDER BY due_at, id) AS of_org
    FROM webhook_deliveries
    WHERE ${isDue} AND org_id <> ALL(${texts(busy.orgIds)}) AND webhook_id <> ALL(${texts(busy.targetIds)})) AS due
    WHERE of_webhook <= ${perWebhook} AND of_org <= ${perOrg} ORDER BY due_at LIMIT ${limit}`;
  const due = tx
    .select({ id: webhookDeliveries.id })
    .from(webhookDeliveries)
    .where(and(isDue, sql`${webhookDeliveries.id} = ANY(ARRAY(${fair}))`))
    .for('update', { skipLocked: true });
  return (
    tx
      .update(webhookDeliveries)
      .set({ dueAt: untilAt, attempts: sql`${webhookDeliveries.attempts} + 1` })
      // ARRAY(…): the rows are chosen once, whatever the plan.
      .where(sql`${webhookDeliveries.id} = ANY(ARRAY(${due}))`)
      .returning()
  );
}

/** Says what became of an attempt. */
export async function settleDelivery(
  tx: Tx,
  id: string,
  change: Partial<Pick<DeliveryRow, 'state' | 'dueAt' | 'status' | 'error' | 'deliveredAt'>>,
): Promise<void> {
  await tx
    .update(webhookDeliveries)
    .set(change)
    .where(and(eq(webhookDeliveries.id, id), eq(webhookDeliveries.state, 'waiting')));
}

/** Notes how a webhook does. */
export async function updateWebhook(
  tx: Tx,
  id: string,
  change: Partial<Pick<WebhookRow, 'lastError' | 'lastDeliveredAt'>>,
): Promise<void> {
  await tx.update(webhooks).set(change).where(eq(webhooks.id, id));
}

/** Disables a webhook, once, and gives up what waits for it. @returns Null when it was disabled before. */
export async function disableWebhook(
  tx: Tx,
  id: string,
  error: string,
  now: Date,
): Promise<WebhookRow | null> {
  const [row] = await tx
    .update(webhooks)
    .set({ disabledAt: now, lastError: error })
    .where(and(eq(webhooks.id, id), isNull(webhooks.disabledAt)))
    .returning();
  if (row === undefined) return null;
  await tx
    .update(webhookDeliveries)
    .set({ state: 'dead', error })
    .where(and(eq(webhookDeliveries.webhookId, id), eq(webhookDeliveries.state, 'waiting')));
  return row;
}
