import type { Kms } from '@kontext/vault';
import type { AppendSignal } from '../audit/append-signal.ts';
import { openRow, type SecretContext } from '../kms/sealed-secrets.ts';
import type { RateLimiter } from '../login/rate-limiter.ts';
import type { SafeFetch } from '../providers/safe-fetch.ts';
import type { KeyedWebhook, WebhookRow } from '../store/queries/webhooks.ts';
import type { Store } from '../store/store.ts';

/** What webhooks need. */
export interface WebhookDeps {
  readonly store: Store;
  readonly kms: Kms;
  readonly fetch: SafeFetch;
  readonly limiter: RateLimiter;
  readonly nowMs: () => number;
  /** Local mode: http to loopback is let through. */
  readonly local: boolean;
  readonly appended: AppendSignal;
  /** 0 to below 1; default `Math.random`. Only spreads attempts. */
  readonly random?: () => number;
}

/** What a signing key is sealed for. */
export const secretContextOf = ({ id, orgId }: Pick<WebhookRow, 'id' | 'orgId'>): SecretContext => ({
  purpose: 'webhook',
  orgId,
  subjectId: id,
  version: 1,
});

/** Opens the signing key of a webhook. Throws as `openRow` does. */
export async function openWebhookSecret(kms: Kms, { webhook, secret }: KeyedWebhook): Promise<string> {
  const opened = await openRow(kms, secretContextOf(webhook), secret);
  const text = opened.toString('utf8');
  opened.fill(0);
  return text;
}
