/**
 * The hashes of the audit log.
 *
 * - Every hash is SHA-256 and begins with a name of its own, so that no value of one kind is a value of another.
 * - Text is hashed as its UTF-8 bytes, exactly as stored.
 * - `payload_hash = SHA-256("kontext-payload-v1" ‖ salt (16 bytes) ‖ payload)`
 * - `event_hash   = SHA-256("kontext-event-v1" ‖ header)`
 * - `chain        = SHA-256("kontext-chain-v1" ‖ prev (32 bytes) ‖ event_hash)`
 * - the first `prev = SHA-256("kontext-stream-v1" ‖ len ‖ org ‖ len ‖ stream ‖ len ‖ nonce)`, each `len` four bytes,
 *   big-endian. Parts of fixed length need no prefix; these three do, or two triples could give the same bytes.
 *
 * The same values, computed by another program, stand in `testdata/hash-vectors.json`.
 */
import { createHash, hash } from 'node:crypto';
import { eventInvalid } from './event-invalid.ts';

/** Length of every hash and chain value. */
export const hashBytes = 32;

/** Length of the salt that is stored beside a payload and erased with it. */
export const saltBytes = 16;

/**
 * SHA-256 in one call: for inputs this short a `Hash` object costs more than the hashing, and so does an answer as a `Buffer` of
 * its own memory.
 */
const sha256 = (data: Uint8Array | string): Buffer => Buffer.from(hash('sha256', data, 'binary'), 'binary');

/** Where the parts of one input are put side by side, their names already there; used up before the function returns. */
const desk = (name: string, length: number): Buffer => {
  const bytes = Buffer.alloc(length);
  bytes.write(name, 'ascii');
  return bytes;
};
const linkDesk = desk('kontext-chain-v1', 16 + 2 * hashBytes);
const payloadAt = 18 + saltBytes;
const payloadDesk = desk('kontext-payload-v1', 65_536);

/**
 * Hash of a payload as the header names it.
 *
 * @param salt 16 random bytes; without them a short payload could be guessed from its hash after erasure.
 * @throws KontextError `KX_EVENT_INVALID` when the salt is not 16 bytes.
 */
export function hashPayload(salt: Uint8Array, payload: string): Buffer {
  checkLength('salt', salt, saltBytes);
  // No more bytes of UTF-8 than three per code unit.
  if (payloadAt + payload.length * 3 > payloadDesk.length)
    return createHash('sha256').update('kontext-payload-v1').update(salt).update(payload, 'utf8').digest();
  payloadDesk.set(salt, payloadAt - saltBytes);
  return sha256(payloadDesk.subarray(0, payloadAt + payloadDesk.write(payload, payloadAt)));
}

/** Hash of an event: of the exact bytes of its header, which names the hash of its payload. */
export function hashEvent(header: string): Buffer {
  return sha256(`kontext-event-v1${header}`);
}

/**
 * The next chain value of a stream.
 *
 * @param prev Chain value of the event before, or {@link firstLink} for seq 1; 32 bytes.
 * @param eventHash {@link hashEvent} of this event's header; 32 bytes.
 * @throws KontextError `KX_EVENT_INVALID` when one of them is not 32 bytes.
 */
export function chainLink(prev: Uint8Array, eventHash: Uint8Array): Buffer {
  checkLength('previous chain value', prev, hashBytes);
  checkLength('event hash', eventHash, hashBytes);
  linkDesk.set(prev, 16);
  linkDesk.set(eventHash, 16 + hashBytes);
  return sha256(linkDesk);
}

/**
 * The `prev` of a stream's first event, which is also the stream's head hash while it is empty.
 *
 * @param nonce Random bytes the backend chose when it opened the stream; 32 bytes.
 */
export function firstLink(orgId: string, streamId: string, nonce: Uint8Array): Buffer {
  const hash = createHash('sha256').update('kontext-stream-v1');
  for (const part of [Buffer.from(orgId, 'utf8'), Buffer.from(streamId, 'utf8'), nonce]) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(part.length);
    hash.update(length).update(part);
  }
  return hash.digest();
}

/** Whether two byte strings are equal. Chain values are public, so this takes no care of timing. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

function checkLength(name: string, bytes: Uint8Array, length: number): void {
  if (bytes.length === length) return;
  throw eventInvalid(`the ${name} is not ${length} bytes`);
}
