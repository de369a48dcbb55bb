import { REPLACEMENT } from './text-view.ts';

/** The longest prefix of a text that takes at most `maxBytes` in UTF-8; no character and no replacement is cut. */
export function clipUtf8(text: string, maxBytes: number): string {
  const end = prefixLength(text, maxBytes);
  if (end === text.length) return text;
  const opened = text.lastIndexOf(REPLACEMENT[0] as string, end);
  const isInside = opened >= 0 && end < opened + REPLACEMENT.length && text.startsWith(REPLACEMENT, opened);
  return text.slice(0, isInside ? opened : end);
}

/** Code units that are counted at once. */
const STRETCH = 1024;

/** Code units of the longest prefix; half a surrogate pair counts as the three bytes it is stored as. */
function prefixLength(text: string, maxBytes: number): number {
  if (3 * text.length <= maxBytes) return text.length;
  let bytes = 0;
  let at = 0;
  while (at < text.length) {
    // A pair that begins at the end of a stretch belongs to the next one.
    const end = at + STRETCH - ((text.codePointAt(at + STRETCH - 1) ?? 0) > 0xffff ? 1 : 0);
    const more = Buffer.byteLength(text.slice(at, end));
    if (bytes + more > maxBytes) break;
    bytes += more;
    at = Math.min(end, text.length);
  }
  for (; at < text.length; ) {
    const code = text.codePointAt(at) as number;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    if (bytes > maxBytes) return at;
    at += code < 0x10000 ? 1 : 2;
  }
  return text.length;
}
