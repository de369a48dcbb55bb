import { maxPayloadBytes } from '@kontext/audit';

/** Longest call or set of facts that is kept whole, in bytes of its JSON text. */
export const maxKeptBytes = 64_000;

/**
 * Writes what is kept beside an event's header: `{"schema":1,…}`.
 *
 * A part over 64,000 bytes is cut on a UTF-8 border and kept as `{"clipped": "<text>", "bytes": <true length>}`.
 *
 * @param parts Redacted JSON values, bounded in depth.
 */
export function payloadText(parts: Readonly<Record<string, unknown>>): string {
  let leftBytes = maxKeptBytes;
  const kept = Object.entries(parts).map(([name, value]) => {
    const text = JSON.stringify(value) ?? 'null';
    const bytes = Buffer.byteLength(text);
    const whole = bytes <= leftBytes;
    const clipped = { clipped: clipUtf8(text, leftBytes), bytes };
    leftBytes = Math.max(0, leftBytes - bytes);
    return [name, whole ? value : clipped];
  });
  const text = JSON.stringify({ schema: 1, ...Object.fromEntries(kept) });
  // Escaping a clipped text again can at worst double it, which the limit of the record allows for.
  return Buffer.byteLength(text) <= maxPayloadBytes ? text : '{"schema":1}';
}

/** The longest beginning of a text that fits into so many bytes of UTF-8 without breaking a character. */
export function clipUtf8(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length <= maxBytes) return text;
  let end = maxBytes;
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.toString('utf8', 0, end);
}
