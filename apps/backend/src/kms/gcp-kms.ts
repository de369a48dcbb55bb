/**
 * Keys in Google Cloud KMS, over its JSON API (`projects.locations.keyRings.cryptoKeys.encrypt|decrypt`), with
 * `additionalAuthenticatedData`.
 *
 * Credentials come from `google-auth-library` (application default credentials: workload identity, metadata server, key file),
 * an optional peer. Checksums go both ways, as Google asks: a data key that was damaged on its way to be wrapped would make the
 * secret unreadable for ever. KMS's own rotation of a key leaves what older versions wrapped readable.
 */
import type { KontextError } from '@kontext/errors';
import { z } from 'zod';
import {
  type CallOptions,
  callService,
  checkDek,
  doesNotUnwrap,
  refused,
  unavailable,
} from './call-service.ts';
import { crc32c } from './crc32c.ts';
import type { KeyService } from './key-service.ts';
import { loadSdk } from './load-sdk.ts';

/** Gives access tokens; the part of `google-auth-library` that is used. */
export interface GoogleAuth {
  getAccessToken(): Promise<string | null | undefined>;
}

/** How Google Cloud KMS is reached. */
export interface GcpKmsOptions extends CallOptions {
  /** Default `https://cloudkms.googleapis.com`. */
  readonly endpoint?: string;
}

const service = 'Google Cloud KMS';
const scope = 'https://www.googleapis.com/auth/cloudkms';
const checksum = z.union([z.string(), z.number()]).transform(Number);
const encrypted = z.object({
  ciphertext: z.base64(),
  ciphertextCrc32c: checksum,
  verifiedPlaintextCrc32c: z.literal(true),
  verifiedAdditionalAuthenticatedDataCrc32c: z.literal(true),
});
const decrypted = z.object({ plaintext: z.base64(), plaintextCrc32c: checksum });
const failure = z.object({ error: z.object({ status: z.string() }) });

/**
 * Makes the service; nothing is asked yet.
 *
 * @throws KontextError `KX_CONFIG_INVALID` when `google-auth-library` is not installed.
 */
export async function createGcpKms(options: GcpKmsOptions = {}): Promise<KeyService> {
  const { GoogleAuth } = await loadSdk('google-auth-library', () => import('google-auth-library'));
  // The key's name holds its project; without this the library looks for one, for seconds.
  const auth: GoogleAuth = new GoogleAuth({ scopes: [scope], projectId: 'unused' });
  const ask = <T>(operation: Operation, kekId: string, body: object, parse: (answer: unknown) => T) =>
    callService(service, options, async (signal) => {
      const endpoint = options.endpoint ?? 'https://cloudkms.googleapis.com';
      const url = `${endpoint}/v1/${kekId.slice('gcp:'.length)}:${operation}`;
      const token = await withDeadline(loadToken(auth), signal);
      return parse(await post(url, operation, body, token, signal));
    });
  return {
    provider: 'gcp',
    wrap: (kekId, dek, aad) => {
      const body = { ...encode('plaintext', dek), ...encode('additionalAuthenticatedData', aad) };
      return ask('encrypt', kekId, body, parseWrapped);
    },
    unwrap: async (kekId, wrapped, aad) => {
      const body = { ...encode('ciphertext', wrapped), ...encode('additionalAuthenticatedData', aad) };
      return checkDek(await ask('decrypt', kekId, body, parseUnwrapped));
    },
  };
}

type Operation = 'encrypt' | 'decrypt';

function parseWrapped(answer: unknown): Buffer {
  const parsed = encrypted.safeParse(answer);
  if (!parsed.success) throw notUnderstood();
  return checked(parsed.data.ciphertext, parsed.data.ciphertextCrc32c);
}

function parseUnwrapped(answer: unknown): Buffer {
  const parsed = decrypted.safeParse(answer);
  if (!parsed.success) throw notUnderstood();
  return checked(parsed.data.plaintext, parsed.data.plaintextCrc32c);
}

function checked(base64: string, sum: number): Buffer {
  const bytes = Buffer.from(base64, 'base64');
  if (crc32c(bytes) !== sum) throw notUnderstood();
  return bytes;
}

const encode = (name: string, bytes: Buffer): Record<string, string> => ({
  [name]: bytes.toString('base64'),
  [`${name}Crc32c`]: String(crc32c(bytes)),
});

async function loadToken(auth: GoogleAuth): Promise<string> {
  const token = await auth.getAccessToken().catch((cause: unknown) => {
    throw refused(service, 'there are no Google credentials, or they gave no access token', cause);
  });
  if (token === null || token === undefined) throw refused(service, 'the credentials gave no access token');
  return token;
}

/** The library takes no signal. */
const withDeadline = <T>(work: Promise<T>, signal: AbortSignal): Promise<T> =>
  Promise.race([
    work,
    new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    }),
  ]);

async function post(
  url: string,
  operation: Operation,
  body: object,
  token: string,
  signal: AbortSignal,
): Promise<unknown> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
    signal,
    redirect: 'error',
  });
  const answer: unknown = await response.json().catch(() => null);
  if (response.ok) return answer;
  throw explain(response.status, operation, answer);
}

function explain(status: number, operation: Operation, answer: unknown): KontextError {
  const parsed = failure.safeParse(answer);
  const said = parsed.success ? parsed.data.error.status : '';
  if (status === 400 && said === 'INVALID_ARGUMENT' && operation === 'decrypt') return doesNotUnwrap();
  if (status === 429 || status >= 500) return unavailable(service, `it answered ${status}`);
  if (said === 'FAILED_PRECONDITION')
    return refused(service, 'the key is disabled, destroyed or of another kind');
  if (status === 404) return refused(service, 'the key does not exist');
  if (status === 401 || status === 403) return refused(service, 'the backend may not use the key');
  return refused(service, `it answered ${status}`);
}

const notUnderstood = (): KontextError =>
  unavailable(service, 'its answer is damaged or cannot be understood');
