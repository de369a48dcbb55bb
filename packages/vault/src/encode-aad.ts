import { KontextError } from '@kontext/errors';

/**
 * Encodes fields as additional authenticated data: each as UTF-8 behind its length (32 bits, big-endian).
 *
 * The prefix makes the encoding injective: `['ab', 'c']` and `['a', 'bc']` differ, as do lists of other lengths.
 *
 * @param fields Well-formed strings; an empty one is a field of its own.
 * @throws KontextError `KX_INTERNAL` when a field holds a lone surrogate, which UTF-8 cannot tell from U+FFFD.
 */
export function encodeAad(fields: readonly string[]): Buffer {
  return Buffer.concat(fields.flatMap(encodeField));
}

function encodeField(field: string): Buffer[] {
  if (/\p{Surrogate}/u.test(field)) {
    throw new KontextError('KX_INTERNAL', 'a field of the seal context is not well-formed text');
  }
  const bytes = Buffer.from(field, 'utf8');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return [length, bytes];
}

/**
 * Gives back the fields that {@link encodeAad} encoded; for a key service that wants names and values instead of bytes.
 *
 * @throws KontextError `KX_INTERNAL` when the bytes are not such an encoding.
 */
export function decodeAad(aad: Buffer): string[] {
  const fields: string[] = [];
  for (let at = 0; at < aad.length; ) {
    const end = at + 4 <= aad.length ? at + 4 + aad.readUInt32BE(at) : Number.POSITIVE_INFINITY;
    if (end > aad.length) throw notAad();
    fields.push(aad.toString('utf8', at + 4, end));
    at = end;
  }
  // Bytes that are no UTF-8 were replaced while decoding: two encodings must not give the same fields.
  if (!encodeAad(fields).equals(aad)) throw notAad();
  return fields;
}

const notAad = (): KontextError =>
  new KontextError('KX_INTERNAL', 'the additional authenticated data is not a list of fields');
