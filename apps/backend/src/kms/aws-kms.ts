/**
 * Keys in AWS KMS, through `@aws-sdk/client-kms`, an optional peer: `Encrypt` and `Decrypt` with the key named by its ARN.
 *
 * The AAD goes as EncryptionContext, one pair for each field: it stands in CloudTrail, and key policies can ask for it
 * (`kms:EncryptionContext:kontext:purpose`). KMS's own rotation of a key leaves what it wrapped before readable.
 */
import { KontextError } from '@kontext/errors';
import { decodeAad } from '@kontext/vault';
import {
  type CallOptions,
  callService,
  checkDek,
  doesNotUnwrap,
  refused,
  unavailable,
} from './call-service.ts';
import type { KeyService } from './key-service.ts';
import { loadSdk } from './load-sdk.ts';

/** How AWS KMS is reached; credentials and endpoint come from where the SDK looks for them. */
export interface AwsKmsOptions extends CallOptions {
  /** Default: that of the region in the key's ARN. */
  readonly endpoint?: string;
}

const service = 'AWS KMS';
/** The fields of a wrap's AAD, in order (`packages/vault/src/seal.ts`). */
const contextNames = ['format', 'purpose', 'org', 'subject', 'version', 'kek'] as const;

/**
 * Makes the service; nothing is asked yet.
 *
 * @throws KontextError `KX_CONFIG_INVALID` when `@aws-sdk/client-kms` is not installed.
 */
export async function createAwsKms(options: AwsKmsOptions = {}): Promise<KeyService> {
  const sdk = await loadSdk('@aws-sdk/client-kms', () => import('@aws-sdk/client-kms'));
  const clients = new Map<string, InstanceType<typeof sdk.KMSClient>>();
  const clientOf = (region: string) => {
    const { endpoint } = options;
    // Repeating is ours: one rule for every key service.
    const settings = { region, maxAttempts: 1, ...(endpoint === undefined ? {} : { endpoint }) };
    const client = clients.get(region) ?? new sdk.KMSClient(settings);
    clients.set(region, client);
    return client;
  };
  return {
    provider: 'aws',
    wrap: (kekId, dek, aad) =>
      callService(service, options, async (abortSignal) => {
        const { region, keyId } = parseKekId(kekId);
        const command = new sdk.EncryptCommand({
          KeyId: keyId,
          Plaintext: dek,
          EncryptionContext: contextOf(aad),
        });
        const { CiphertextBlob: wrapped } = await clientOf(region)
          .send(command, { abortSignal })
          .catch(explain);
        if (!wrapped) throw unavailable(service, 'its answer cannot be understood');
        return Buffer.from(wrapped);
      }),
    unwrap: (kekId, wrapped, aad) =>
      callService(service, options, async (abortSignal) => {
        const { region, keyId } = parseKekId(kekId);
        const context = contextOf(aad);
        const command = new sdk.DecryptCommand({
          KeyId: keyId,
          CiphertextBlob: wrapped,
          EncryptionContext: context,
        });
        const { Plaintext: plaintext } = await clientOf(region).send(command, { abortSignal }).catch(explain);
        if (!plaintext) throw unavailable(service, 'its answer cannot be understood');
        const dek = Buffer.from(plaintext);
        plaintext.fill(0);
        return checkDek(dek);
      }),
  };
}

function parseKekId(kekId: string): { region: string; keyId: string } {
  const keyId = kekId.slice('aws:'.length);
  const region = keyId.split(':')[3];
  if (region === undefined) throw new KontextError('KX_INTERNAL', `${kekId} is not the ARN of a key`);
  return { region, keyId };
}

function contextOf(aad: Buffer): Record<string, string> {
  const fields = decodeAad(aad);
  if (fields.length !== contextNames.length) {
    throw new KontextError(
      'KX_INTERNAL',
      'the context of a wrapped key has other fields than AWS KMS is given',
    );
  }
  return Object.fromEntries(contextNames.map((name, i) => [`kontext:${name}`, fields[i] ?? '']));
}

/** Names of the errors of KMS that say what is wrong; by API reference of Encrypt and Decrypt, and of the SDK. */
const refusals: Readonly<Record<string, string>> = {
  AccessDeniedException: 'the backend may not use the key',
  NotFoundException: 'the key does not exist',
  DisabledException: 'the key is disabled',
  KMSInvalidStateException: 'the key is disabled or waits for its deletion',
  InvalidKeyUsageException: 'the key is not for encryption',
  CredentialsProviderError: 'there are no AWS credentials',
};
const transient =
  /^(KeyUnavailable|DependencyTimeout|KMSInternal|Throttling|LimitExceeded|ServiceUnavailable)/;

function explain(error: unknown): never {
  const name = error instanceof Error ? error.name : '';
  if (name === 'InvalidCiphertextException' || name === 'IncorrectKeyException') throw doesNotUnwrap();
  const why = refusals[name];
  if (why !== undefined) throw refused(service, why, error);
  const status = statusOf(error);
  if (status !== null && status >= 400 && status < 500 && !transient.test(name) && status !== 429) {
    throw refused(service, `it answered ${name}`, error);
  }
  throw unavailable(
    service,
    status === null ? 'there was no answer in time' : `it answered ${status}`,
    error,
  );
}

function statusOf(error: unknown): number | null {
  if (typeof error !== 'object' || error === null || !('$metadata' in error)) return null;
  const { $metadata: metadata } = error;
  if (typeof metadata !== 'object' || metadata === null || !('httpStatusCode' in metadata)) return null;
  return typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : null;
}
