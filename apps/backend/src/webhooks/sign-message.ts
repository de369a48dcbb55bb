import { createHmac, randomBytes } from 'node:crypto';

const prefix = 'whsec_';
/** Bytes of a signing key; Standard Webhooks wants 24 to 64. */
const keyBytes = 32;

/** Makes a signing key as its receiver keeps it: `whsec_` and base64. */
export const createWebhookSecret = (): string => `${prefix}${randomBytes(keyBytes).toString('base64')}`;

/**
 * Headers of a message (Standard Webhooks, "Verifying webhook authenticity"): the signature is `v1,` and the base64 of
 * HMAC-SHA256 over `id.timestamp.body`.
 *
 * @param secret As {@link createWebhookSecret} made it.
 * @param id The same for every attempt: by it a receiver knows a message it has seen.
 */
export function signMessage(
  secret: string,
  id: string,
  sentAt: Date,
  body: string,
): Readonly<Record<string, string>> {
  const timestamp = String(Math.floor(sentAt.getTime() / 1000));
  const key = Buffer.from(secret.slice(prefix.length), 'base64');
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
  key.fill(0);
  return {
    'content-type': 'application/json',
    'user-agent': 'kontext-webhooks',
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1,${signature}`,
  };
}
