/**
 * Stand-ins for key services on loopback. They speak the real protocols as far as the backend uses them, hold real keys, bind the
 * context as the real ones do, and check what the real ones check (AWS: the request's signature, version 4).
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { crc32c } from './crc32c.ts';

/** A request as a stand-in saw it. */
export interface SeenRequest {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Record<string, unknown>;
}

/** What goes wrong with the next requests: an answer of that status, silence, or an answer that is no JSON. */
export type Fault = number | 'hang' | 'garbage';

/** A running stand-in. */
export interface KeyServiceStandIn {
  readonly url: string;
  readonly seen: SeenRequest[];
  /** Consumed one per request, first to last. */
  readonly faults: Fault[];
  /** Keys by the name requests use. */
  readonly keys: Map<string, { readonly bytes: Buffer; enabled: boolean }>;
  /** Switches off what this service checks: a client must notice. */
  isCareless: boolean;
  /** Bytes it damages in its next answer. */
  damagesNext: boolean;
  close(): Promise<void>;
}

type Answer = { readonly status: number; readonly json: unknown; readonly headers?: Record<string, string> };
type Handler = (request: SeenRequest, raw: Buffer, standIn: KeyServiceStandIn) => Answer;

async function start(keyNames: readonly string[], handle: Handler): Promise<KeyServiceStandIn> {
  const answer = (request: IncomingMessage, raw: Buffer, response: ServerResponse): void => {
    const path = request.url ?? '';
    const body = raw.length > 0 ? (JSON.parse(raw.toString('utf8')) as Record<string, unknown>) : {};
    const seen = { path, headers: request.headers, body };
    const isControl = path.startsWith('/computeMetadata/');
    if (!isControl) standIn.seen.push(seen);
    const fault = isControl ? undefined : standIn.faults.shift();
    if (fault === 'hang') return;
    if (fault === 'garbage') return void response.writeHead(200).end('<html>');
    const { status, json, headers } =
      fault === undefined ? handle(seen, raw, standIn) : { status: fault, json: {} };
    response
      .writeHead(status, { 'content-type': 'application/json', ...headers })
      .end(typeof json === 'string' ? json : JSON.stringify(json));
  };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => answer(request, Buffer.concat(chunks), response));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const standIn: KeyServiceStandIn = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen: [],
    faults: [],
    keys: new Map(keyNames.map((name) => [name, { bytes: randomBytes(32), enabled: true }])),
    isCareless: false,
    damagesNext: false,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
  return standIn;
}

function encrypt(key: Buffer, aad: string, plaintext: Buffer): Buffer {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(aad));
  return Buffer.concat([iv, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

function decrypt(key: Buffer, aad: string, bytes: Buffer): Buffer | null {
  if (bytes.length < 28) return null;
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12), { authTagLength: 16 })
    .setAAD(Buffer.from(aad))
    .setAuthTag(bytes.subarray(-16));
  try {
    return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]);
  } catch {
    return null;
  }
}

/** The one token the Vault stand-in takes. */
export const vaultToken = 'hvs.test-token';

/** Vault's transit engine under `transit/`, with the given keys. */
export const startVaultStandIn = (keyNames: readonly string[]): Promise<KeyServiceStandIn> =>
  start(keyNames, ({ path, headers, body }, _raw, { keys, isCareless }) => {
    const no = (status: number, text: string): Answer => ({ status, json: { errors: [text] } });
    if (headers['x-vault-token'] !== vaultToken || headers['x-vault-request'] !== 'true') {
      return no(403, 'permission denied');
    }
    const [, operation, name = ''] = /^\/v1\/transit\/(encrypt|decrypt)\/([\w-]+)$/.exec(path) ?? [];
    if (operation === undefined) return no(404, 'no handler for route');
    const key = keys.get(name);
    if (!key?.enabled) return no(400, 'encryption key not found');
    const aad = isCareless ? '' : String(body.associated_data);
    if (operation === 'encrypt') {
      const wrapped = encrypt(key.bytes, aad, Buffer.from(String(body.plaintext), 'base64'));
      return { status: 200, json: { data: { ciphertext: `vault:v1:${wrapped.toString('base64')}` } } };
    }
    const [, text] = /^vault:v1:([A-Za-z0-9+/]+=*)$/.exec(String(body.ciphertext)) ?? [];
    if (text === undefined) return no(400, 'invalid ciphertext: no prefix');
    const plaintext = decrypt(key.bytes, aad, Buffer.from(text, 'base64'));
    if (!plaintext) return no(400, 'cipher: message authentication failed');
    return { status: 200, json: { data: { plaintext: plaintext.toString('base64') } } };
  });

/** The access token of the Google stand-in, which its metadata server gives out. */
const googleToken = 'ya29.test-token';

/** Google Cloud KMS, and the metadata server of an instance, on one address. */
export const startGcpStandIn = (keyNames: readonly string[]): Promise<KeyServiceStandIn> =>
  start(keyNames, (request, _raw, standIn) => {
    if (request.path.startsWith('/computeMetadata/')) return googleMetadata(request);
    const no = (status: number, text: string): Answer => ({ status, json: { error: { status: text } } });
    if (request.headers.authorization !== `Bearer ${googleToken}`) return no(401, 'UNAUTHENTICATED');
    const [, name = '', operation] = /^\/v1\/(projects\/.+):(encrypt|decrypt)$/.exec(request.path) ?? [];
    const key = standIn.keys.get(name);
    if (!key) return no(404, 'NOT_FOUND');
    if (!key.enabled) return no(400, 'FAILED_PRECONDITION');
    const bytesOf = (field: string): Buffer => {
      const bytes = Buffer.from(String(request.body[field]), 'base64');
      if (request.body[`${field}Crc32c`] !== String(crc32c(bytes))) throw new Error(`checksum of ${field}`);
      return bytes;
    };
    const damage = standIn.damagesNext ? 1 : 0;
    standIn.damagesNext = false;
    const aad = standIn.isCareless ? '' : bytesOf('additionalAuthenticatedData').toString('base64');
    if (operation === 'encrypt') {
      const wrapped = encrypt(key.bytes, aad, bytesOf('plaintext'));
      const verified = { verifiedPlaintextCrc32c: true, verifiedAdditionalAuthenticatedDataCrc32c: true };
      const crc = String((crc32c(wrapped) ^ damage) >>> 0);
      const json = { ciphertext: wrapped.toString('base64'), ciphertextCrc32c: crc, ...verified };
      return { status: 200, json };
    }
    const plaintext = decrypt(key.bytes, aad, bytesOf('ciphertext'));
    if (!plaintext) return no(400, 'INVALID_ARGUMENT');
    const crc = String((crc32c(plaintext) ^ damage) >>> 0);
    return { status: 200, json: { plaintext: plaintext.toString('base64'), plaintextCrc32c: crc } };
  });

function googleMetadata({ path, headers }: SeenRequest): Answer {
  const flavor = { 'metadata-flavor': 'Google' };
  if (headers['metadata-flavor'] !== 'Google') return { status: 403, json: {}, headers: flavor };
  if (path.startsWith('/computeMetadata/v1/instance/service-accounts/default/token')) {
    const json = { access_token: googleToken, expires_in: 3600, token_type: 'Bearer' };
    return { status: 200, json, headers: flavor };
  }
  if (path.includes('universe')) return { status: 404, json: {}, headers: flavor };
  return { status: 200, json: {}, headers: flavor };
}

/** The credentials the AWS stand-in knows. */
export const awsCredentials = { id: 'AKIATESTTESTTESTTEST', secret: 'a-secret-access-key-of-the-stand-in' };

/** AWS KMS in one region. */
export const startAwsStandIn = (keyNames: readonly string[]): Promise<KeyServiceStandIn> =>
  start(keyNames, ({ headers, body }, raw, { keys, isCareless }) => {
    const no = (type: string): Answer => ({ status: 400, json: { __type: type, message: type } });
    if (headers['content-type'] !== 'application/x-amz-json-1.1') return no('SerializationException');
    if (!isSigned(headers, raw)) return no('InvalidSignatureException');
    const key = keys.get(String(body.KeyId));
    if (!key) return no('NotFoundException');
    if (!key.enabled) return no('DisabledException');
    const context = Object.entries(body.EncryptionContext as Record<string, string>).sort();
    const aad = isCareless ? '' : JSON.stringify(context);
    const type = { 'content-type': 'application/x-amz-json-1.1' };
    if (headers['x-amz-target'] === 'TrentService.Encrypt') {
      const wrapped = encrypt(key.bytes, aad, Buffer.from(String(body.Plaintext), 'base64'));
      const json = { KeyId: body.KeyId, CiphertextBlob: wrapped.toString('base64') };
      return { status: 200, json, headers: type };
    }
    if (headers['x-amz-target'] !== 'TrentService.Decrypt') return no('UnknownOperationException');
    const plaintext = decrypt(key.bytes, aad, Buffer.from(String(body.CiphertextBlob), 'base64'));
    if (!plaintext) return no('InvalidCiphertextException');
    const json = { KeyId: body.KeyId, Plaintext: plaintext.toString('base64') };
    return { status: 200, json, headers: type };
  });

/** Signature Version 4, computed anew from the request as it arrived. */
function isSigned(headers: IncomingMessage['headers'], raw: Buffer): boolean {
  const form = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/([^,]+), SignedHeaders=([^,]+), Signature=(\w{64})$/;
  const [, id, scope = '', names = '', signature] = form.exec(headers.authorization ?? '') ?? [];
  if (id !== awsCredentials.id || !names.split(';').includes('x-amz-target')) return false;
  const sha256 = (data: string | Buffer) => createHash('sha256').update(data).digest('hex');
  const signed = names.split(';').map((name) => `${name}:${String(headers[name]).trim()}\n`);
  const canonical = ['POST', '/', '', signed.join(''), names, sha256(raw)].join('\n');
  const text = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, sha256(canonical)].join('\n');
  const hmac = (key: Buffer | string, data: string) => createHmac('sha256', key).update(data).digest();
  const key = scope.split('/').reduce<Buffer | string>(hmac, `AWS4${awsCredentials.secret}`);
  return hmac(key, text).toString('hex') === signature;
}
