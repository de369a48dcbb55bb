/**
 * Keys in the transit engine of Vault or OpenBao, over its HTTP API (`POST /v1/<mount>/encrypt|decrypt/<key>`).
 *
 * The AAD goes as `associated_data` (authenticated by AEAD keys) and as `context` (for a derived key, which then is another key
 * for every secret; passed over by others). A wrapped data key is the engine's `vault:v<n>:…` text: the engine's own rotation of
 * a key leaves it readable. Data keys travel as base64 in JSON: such strings cannot be zeroed, only dropped.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import {
  type CallOptions,
  callService,
  checkDek,
  doesNotUnwrap,
  refused,
  unavailable,
} from './call-service.ts';
import type { KeyService } from './key-service.ts';

/** Where Vault is. */
export interface VaultTransitOptions extends CallOptions {
  /** URL without trailing slash. */
  readonly address: string;
  /** Read at every request: an agent beside the backend renews the token. */
  readonly tokenFile: string;
  readonly namespace: string | null;
}

const service = 'Vault';
const encrypted = z.object({ data: z.object({ ciphertext: z.string().regex(/^[a-z]+:v\d+:/) }) });
const decrypted = z.object({ data: z.object({ plaintext: z.base64() }) });
const failure = z.object({ errors: z.array(z.string()) });

/** Makes the service; nothing is asked yet. */
export function createVaultTransit(options: VaultTransitOptions): KeyService {
  const ask = <T>(
    operation: Operation,
    kekId: string,
    given: object,
    aad: Buffer,
    parse: (answer: unknown) => T,
  ) => {
    const [, mount = '', key = ''] = /^vault:(.+)\/([^/]+)$/.exec(kekId) ?? [];
    const context = aad.toString('base64');
    const body = JSON.stringify({ ...given, associated_data: context, context });
    const url = `${options.address}/v1/${mount}/${operation}/${key}`;
    return callService(service, options, async (signal) =>
      parse(await post(url, operation, body, signal, options)),
    );
  };
  return {
    provider: 'vault',
    wrap: (kekId, dek, aad) =>
      ask('encrypt', kekId, { plaintext: dek.toString('base64') }, aad, parseWrapped),
    unwrap: async (kekId, wrapped, aad) => {
      const ciphertext = wrapped.toString('utf8');
      // What is not text was never made by Vault; decoded loosely, other bytes could stand for the same text.
      if (!Buffer.from(ciphertext, 'utf8').equals(wrapped)) throw doesNotUnwrap();
      return checkDek(await ask('decrypt', kekId, { ciphertext }, aad, parseUnwrapped));
    },
  };
}

type Operation = 'encrypt' | 'decrypt';

function parseWrapped(answer: unknown): Buffer {
  const parsed = encrypted.safeParse(answer);
  if (!parsed.success) throw notUnderstood();
  return Buffer.from(parsed.data.data.ciphertext, 'utf8');
}

function parseUnwrapped(answer: unknown): Buffer {
  const parsed = decrypted.safeParse(answer);
  if (!parsed.success) throw notUnderstood();
  return Buffer.from(parsed.data.data.plaintext, 'base64');
}

async function post(
  url: string,
  operation: Operation,
  body: string,
  signal: AbortSignal,
  { tokenFile, namespace }: VaultTransitOptions,
): Promise<unknown> {
  const headers = {
    'content-type': 'application/json',
    'x-vault-request': 'true',
    'x-vault-token': readToken(tokenFile),
    ...(namespace === null ? {} : { 'x-vault-namespace': namespace }),
  };
  // A redirect would carry the token elsewhere.
  const response = await fetch(url, { method: 'POST', headers, body, signal, redirect: 'error' });
  const answer: unknown = await response.json().catch(() => null);
  if (response.ok) return answer;
  throw explain(response.status, operation, answer);
}

function explain(status: number, operation: Operation, answer: unknown): Error {
  const parsed = failure.safeParse(answer);
  const said = parsed.success ? parsed.data.errors.join(' ') : '';
  if (status === 400 && operation === 'decrypt' && !/key not found|version is disallowed/i.test(said)) {
    return doesNotUnwrap();
  }
  if (status === 400) return refused(service, 'the key does not exist there, or cannot be used so');
  if (status === 403) return refused(service, 'the token is expired, or may not use the key');
  if (status === 404) return refused(service, 'there is no transit engine under that mount');
  if (status === 412 || status === 429 || status >= 500) {
    return unavailable(service, status === 503 ? 'it is sealed or in maintenance' : `it answered ${status}`);
  }
  return refused(service, `it answered ${status}`);
}

function readToken(path: string): string {
  try {
    const token = readFileSync(path, 'utf8').trim();
    // Header values: a line break in the file must not become a second header.
    if (/^[\x21-\x7e]+$/.test(token)) return token;
  } catch (cause) {
    throw refused(service, `the token file ${path} cannot be read`, cause);
  }
  throw refused(service, `the token file ${path} does not hold a token`);
}

const notUnderstood = (): Error => unavailable(service, 'its answer cannot be understood');
