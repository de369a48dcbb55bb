/** Unquotes the inside of `"…"`: a backslash stands for itself except before `$`, backquote, `"`, `\` and a new line. */
export function unquoteDouble(text: string): string {
  if (!text.includes('\\')) return text;
  return text.replaceAll(/\\([$`"\\\n])/g, (_, char: string) => (char === '\n' ? '' : char));
}

/** Unquotes the inside of an unquoted here document: as {@link unquoteDouble}, but `\"` stays. */
export function unquoteHeredoc(text: string): string {
  if (!text.includes('\\')) return text;
  return text.replaceAll(/\\([$`\\\n])/g, (_, char: string) => (char === '\n' ? '' : char));
}

const escapes: Readonly<Record<string, string>> = {
  ...{ a: '\x07', b: '\b', e: '\x1b', E: '\x1b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' },
  ...{ '\\': '\\', "'": "'", '"': '"', '?': '?' },
};

const escapePattern =
  /\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})|c([\s\S])|([\s\S]))/g;

/**
 * Decodes the inside of `$'…'` (bash manual, "ANSI-C Quoting").
 *
 * Bytes above 127 written by number are taken together as UTF-8; NUL ends the text as it does in bash.
 */
export function unquoteAnsiC(text: string): string {
  if (!text.includes('\\')) return text;
  const bytes: Buffer[] = [];
  let from = 0;
  for (const match of text.matchAll(escapePattern)) {
    bytes.push(Buffer.from(text.slice(from, match.index)));
    from = match.index + match[0].length;
    const decoded = decodeEscape(match);
    if (decoded.length === 1 && decoded[0] === 0) return Buffer.concat(bytes).toString();
    bytes.push(decoded);
  }
  bytes.push(Buffer.from(text.slice(from)));
  return Buffer.concat(bytes).toString();
}

function decodeEscape([all, hex, octal, short, long, control, other]: RegExpExecArray): Buffer {
  if (hex !== undefined) return Buffer.from([Number.parseInt(hex, 16)]);
  if (octal !== undefined) return Buffer.from([Number.parseInt(octal, 8) & 255]);
  const code = short ?? long;
  if (code !== undefined) {
    const point = Number.parseInt(code, 16);
    return point === 0
      ? Buffer.from([0])
      : Buffer.from(point <= 0x10ffff ? String.fromCodePoint(point) : '\ufffd');
  }
  if (control !== undefined) return Buffer.from([control.charCodeAt(0) & 31]);
  return Buffer.from(escapes[other ?? ''] ?? all);
}
