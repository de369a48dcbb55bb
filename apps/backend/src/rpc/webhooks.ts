import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { type Webhook, WebhookSchema, WebhookService } from '@kontext/protocol';
import type { CountedWebhook, WebhookService as Webhooks } from '../webhooks/webhook-service.ts';
import { callerOf } from './authenticate.ts';
import type { RpcRoutes } from './router.ts';

/** The edge of `webhooks/`: wire in, wire out. */
export const webhookRoutes =
  (webhooks: Webhooks): RpcRoutes =>
  (router) =>
    router.service(WebhookService, {
      addWebhook: async ({ url, events }, context) => {
        const { webhook, secret } = await webhooks.add(callerOf(context), url, events);
        return { webhook: toMessage({ webhook, waiting: 0 }), secret };
      },
      removeWebhook: async ({ webhookId }, context) => {
        await webhooks.remove(callerOf(context), webhookId);
        return {};
      },
      listWebhooks: async (_request, context) => ({
        webhooks: (await webhooks.list(callerOf(context))).map(toMessage),
      }),
      testWebhook: async ({ webhookId }, context) => {
        const { status, error } = await webhooks.test(callerOf(context), webhookId);
        return { status, error };
      },
    });

function toMessage({ webhook, waiting }: CountedWebhook): Webhook {
  const { id, url, events, createdAt, disabledAt, lastError, lastDeliveredAt } = webhook;
  return create(WebhookSchema, {
    ...{ id, events, lastError, waiting, url: maskUrl(url) },
    createdAt: timestampFromDate(createdAt),
    ...(disabledAt ? { disabledAt: timestampFromDate(disabledAt) } : {}),
    ...(lastDeliveredAt ? { lastDeliveredAt: timestampFromDate(lastDeliveredAt) } : {}),
  });
}

/** Whoever has the URL of a chat's webhook can write there: it is shown by its host and its end. */
export function maskUrl(text: string): string {
  const { origin, pathname, search } = new URL(text);
  const rest = `${pathname}${search}`;
  return rest.length <= 12 ? `${origin}${rest}` : `${origin}/…${rest.slice(-4)}`;
}
