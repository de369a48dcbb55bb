import { squeezeText } from './characters.ts';

/** Secrets, and written forms of them, that are shorter match as whole words only. */
const MIN_SUBSTRING = 8;

/** Any copy of this many characters is found; forms that are shorter only as a whole. */
export const GRAM = 12;

/** How a secret may be written. */
export interface SecretForms {
  /** To be found anywhere, whole or in part. */
  readonly substrings: readonly string[];
  /** To be found as whole words only. */
  readonly words: readonly string[];
}

/**
 * The forms of a secret that are searched for: raw, base64 and base64url at all three alignments, hex in both cases,
 * URL-encoded, JSON-escaped and reversed; the longer ones also without their separators.
 *
 * @param value The secret, with or without white space at its ends; an empty one has no forms.
 */
export function secretForms(value: string): SecretForms {
  const values = [...new Set([value, value.trim()])].filter((text) => text !== '');
  const long = values.filter((text) => text.length >= MIN_SUBSTRING);
  const short = values.filter((text) => text.length < MIN_SUBSTRING);
  const written = long.flatMap((text) => [...plainForms(text), ...embeddedBase64(text)]);
  return {
    substrings: unique([...written, ...written.map(squeezeText)]).filter(
      (form) => form.length >= MIN_SUBSTRING,
    ),
    words: unique(short.flatMap((text) => [...plainForms(text), ...wholeBase64(Buffer.from(text, 'utf8'))])),
  };
}

function plainForms(text: string): string[] {
  const bytes = Buffer.from(text, 'utf8');
  const hex = bytes.toString('hex');
  return [
    text,
    [...text].reverse().join(''),
    JSON.stringify(text).slice(1, -1),
    // From the bytes, because encodeURIComponent throws at a lone surrogate.
    encodeURIComponent(bytes.toString('utf8')),
    hex,
    hex.toUpperCase(),
  ];
}

/**
 * What the secret looks like inside the base64 of a longer text, which may put 0, 1 or 2 bytes more before it.
 *
 * Characters that also hold bits of a neighbour are left out; the last one is known when the secret ends the text.
 */
function embeddedBase64(text: string): string[] {
  const bytes = Buffer.from(text, 'utf8');
  return [0, 1, 2].flatMap((before) => {
    const padded = Buffer.concat([Buffer.alloc(before), bytes]);
    const first = Math.ceil((before * 8) / 6);
    const stableEnd = Math.floor((padded.length * 8) / 6);
    return wholeBase64(padded).flatMap((encoded) => {
      // A long form needs no second copy: all grams of the stable part are grams of the whole.
      const stable = encoded.slice(first, stableEnd);
      return stable.length < GRAM ? [encoded.slice(first), stable] : [encoded.slice(first)];
    });
  });
}

/** Both alphabets, without padding (RFC 4648 §4 and §5). */
const wholeBase64 = (bytes: Buffer): string[] => [
  bytes.toString('base64url'),
  bytes.toString('base64').replace(/=+$/, ''),
];

const unique = (texts: readonly string[]): string[] => [...new Set(texts)];
