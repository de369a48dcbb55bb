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
