/**
 * Stands in a view for text that was already redacted: no match reaches across it. U+FFFF is no character (Unicode 16
 * §23.7); where a text has it all the same, a view has its neighbour.
 */
export const BARRIER = 0xffff;

/** What a view holds for a U+FFFF of the text. */
const STAND_IN = 0xfffe;

/** A code unit of a text, as a view holds it. */
export function codeAt(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return code === BARRIER ? STAND_IN : code;
}

/**
 * Whether a UTF-16 code unit may be put between the characters of a secret to hide it: everything in ASCII but
 * letters and digits, and beyond ASCII the spaces, punctuation and zero-width characters.
 */
export function isSeparator(code: number): boolean {
  if (code < 0x80) return !isAsciiAlphanumeric(code);
  return (
    code < 0xc0 ||
    (code >= 0x2000 && code <= 0x206f) ||
    (code >= 0x3000 && code <= 0x303f) ||
    (code >= 0xfe00 && code <= 0xfe0f) ||
    code === 0xfeff
  );
}

/** Whether a UTF-16 code unit belongs to a word: letters, digits and `_`. */
export const isWordCode = (code: number): boolean =>
  code === 0x5f || (code !== BARRIER && !isSeparator(code));

/** Whether a UTF-16 code unit is ASCII white space. */
export const isWhiteSpace = (code: number): boolean => code === 0x20 || (code >= 0x09 && code <= 0x0d);

/** Value of a hexadecimal digit, or -1. */
export function hexValue(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** The text without its separators. */
export function squeezeText(text: string): string {
  let squeezed = '';
  for (let i = 0; i < text.length; i += 1) {
    if (!isSeparator(text.charCodeAt(i))) squeezed += text[i];
  }
  return squeezed;
}

function isAsciiAlphanumeric(code: number): boolean {
  const lower = code | 0x20;
  return (code >= 0x30 && code <= 0x39) || (lower >= 0x61 && lower <= 0x7a);
}
