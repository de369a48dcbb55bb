import type { Kms } from '@kontext/vault';
import { openRow, type SecretContext, sealAsRow } from '../kms/sealed-secrets.ts';
import type { SecretRow } from '../store/queries/secrets.ts';
import { createWebhookSecret } from './sign-message.ts';

/** Whom messages go to. */
export interface Receiver {
  readonly kind: 'webhook' | 'sink';
  readonly id: string;
  readonly orgId: string;
}

/** What a signing key is sealed for. */
const contextOf = ({ kind, id, orgId }: Receiver): SecretContext => ({
  ...{ purpose: kind, orgId, subjectId: id, version: 1 },
});

/**
 * Makes the signing key of a receiver. Call it before the transaction: sealing may ask a key service.
 *
 * @returns The key as its owner is shown it once, and as it is stored.
 */
export async function createSigningKey(
  kms: Kms,
  receiver: Receiver,
  now: Date,
): Promise<{ readonly secret: string; readonly sealed: SecretRow }> {
  const secret = createWebhookSecret();
  const plaintext = Buffer.from(secret);
  const sealed = await sealAsRow(kms, contextOf(receiver), plaintext, now);
  plaintext.fill(0);
  return { secret, sealed };
}

/** Opens the stored signing key of a receiver. Throws as `openRow` does. */
export async function openSigningKey(kms: Kms, receiver: Receiver, sealed: SecretRow): Promise<string> {
  const opened = await openRow(kms, contextOf(receiver), sealed);
  const secret = opened.toString('utf8');
  opened.fill(0);
  return secret;
}
