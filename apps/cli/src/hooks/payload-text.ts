/**
 * What is kept beside an event's header: `{"schema":1,…}`, without anything that looks like a secret.
 *
 * Policy decides on a view without the session's own secrets; what only looks like one stands in it, or an agent could hide a
 * command behind `TOKEN='…'`. Here it goes, too: nothing is stored or sent that has not been through this.
 */
import { maxPayloadBytes, plainPayloadNames } from '@kontext/audit';
import type { ToolCall } from '@kontext/policy';
import { createPayloadRedactor, type PayloadRedactor } from '@kontext/redaction';

/** Longest call or set of facts that is kept whole, in bytes of its JSON text. */
export const maxKeptBytes = 64_000;

/** Looked at beyond that, so that no secret is half seen at the cut. */
const margin = 4_096;

/** What the organisation keeps of payloads; see docs/audit-events.md. */
export type PayloadSetting = 'summary' | 'full' | 'omitted';

/**
 * The redactor of what is recorded. It looks for patterns and sensitive names: the values of the session are gone already.
 *
 * @param budgetMs Processor time for 64 KiB; default 50.
 */
export const createRecordRedactor = (budgetMs?: number): PayloadRedactor =>
  createPayloadRedactor({
    ...{ secrets: [], nowMs: processorMs, plainNames: plainPayloadNames },
    ...(budgetMs === undefined ? {} : { budgetMs }),
  });

/** Not the time of the day: waiting for a busy machine is no work of ours. */
function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/**
 * Writes a payload.
 *
 * A part over 64,000 bytes is cut on a UTF-8 border and kept as `{"clipped": "<text>", "bytes": <true length>}`. When
 * something was taken out of `call`, `callRedacted` says so: what policy decided on is then not what stands there.
 *
 * @param parts JSON values without the session's secrets, bounded in depth.
 * @returns Null when they could not be searched in time: then nothing of them may be kept.
 */
export function payloadText(
  redactor: PayloadRedactor,
  parts: Readonly<Record<string, unknown>>,
): string | null {
  const measured = measureParts(parts);
  const bounded = Object.fromEntries(measured.map(({ name, value }) => [name, value]));
  const whole = redactParts(redactor, bounded);
  if (whole === null) return null;
  const redacted = 'details' in whole ? { ...whole, details: clipDetails(whole.details) } : whole;
  let leftBytes = maxKeptBytes;
  let isClipped = false;
  const kept = measured.map(({ name, bytes, isShortened }) => {
    const part = redacted[name];
    const text = JSON.stringify(part) ?? 'null';
    const length = Buffer.byteLength(text);
    const room = isShortened ? Math.min(leftBytes, Math.max(0, length - margin)) : leftBytes;
    leftBytes = Math.max(0, leftBytes - length);
    if (length <= room) return [name, part];
    isClipped = true;
    return [name, { clipped: clipUtf8(text, room), bytes }];
  });
  const isChanged = JSON.stringify(redacted.call) !== JSON.stringify(bounded.call);
  const all = { schema: 1, ...Object.fromEntries(kept), ...(isChanged ? { callRedacted: true } : {}) };
  // What is cut is another text, and is searched again.
  const settled = isClipped ? redactParts(redactor, all) : all;
  if (settled === null) return null;
  const text = JSON.stringify(settled);
  // Escaping a clipped text again can at worst double it, which the limit of the record allows for.
  return Buffer.byteLength(text) <= maxPayloadBytes ? text : '{"schema":1}';
}

/**
 * A call, and the part of it that decided in words, as they may be shown to whoever decides about it.
 *
 * @returns Null when they could not be searched in time.
 */
export function redactQuestion(
  redactor: PayloadRedactor,
  call: ToolCall,
  part: string,
): { readonly call: ToolCall; readonly part: string } | null {
  const redacted = redactParts(redactor, { call, part });
  return redacted === null ? null : (redacted as { call: ToolCall; part: string });
}

/** A short text, such as a name; `[redacted]` when it could not be searched in time. */
export function redactName(redactor: PayloadRedactor, text: string): string {
  const redacted = redactor.redactText(text);
  return redacted.kind === 'redacted' ? redacted.text : '[redacted]';
}

/** Longest text among the details that is kept, such as the error of a failed call; in UTF-16 code units. */
const maxDetailLength = 1000;

/** Cut after the search: half a secret is not found any more. */
const clipDetails = (details: unknown): unknown =>
  isObject(details)
    ? Object.fromEntries(
        Object.entries(details).map(([name, value]) => [
          name,
          typeof value === 'string' ? value.slice(0, maxDetailLength) : value,
        ]),
      )
    : details;

type Parts = Readonly<Record<string, unknown>>;

function redactParts(redactor: PayloadRedactor, parts: Parts): Parts | null {
  const lined = 'call' in parts ? { ...parts, call: redactArgs(redactor, parts.call) } : parts;
  const redacted = redactor.redactJson(lined);
  return redacted.kind === 'redacted' ? (redacted.value as Parts) : null;
}

/** Words of a command say what they are only together: `mysql` and `-phunter2`. */
function redactArgs(redactor: PayloadRedactor, call: unknown): unknown {
  if (!isObject(call) || !Array.isArray(call.parts)) return call;
  const parts = call.parts.map((part: unknown) => {
    if (!isObject(part) || !Array.isArray(part.args) || part.args.length === 0) return part;
    const line = `${String(part.program)} ${part.args.join(' ')}`;
    const shown = redactName(redactor, line);
    if (shown === line) return part;
    const [, ...args] = shown.split(' ');
    // `-phunter2` stands among the options, too, whole and by its letters.
    const flags = Array.isArray(part.flags) ? part.flags.filter((flag) => args.includes(String(flag))) : [];
    const subcommand = args.includes(String(part.subcommand)) ? part.subcommand : '';
    return { ...part, args, flags, subcommand };
  });
  return { ...call, parts };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The parts with their true length; what could not be kept anyway is not looked at either. */
function measureParts(parts: Parts) {
  let left = maxKeptBytes;
  return Object.entries(parts).map(([name, whole]) => {
    const bytes = Buffer.byteLength(JSON.stringify(whole) ?? 'null');
    const isShortened = bytes > left + margin;
    const value = isShortened ? shorten(whole, { left: left + margin }) : whole;
    left = Math.max(0, left - bytes);
    return { name, bytes, isShortened, value };
  });
}

/** The beginning of a JSON value, of at least so many characters. */
function shorten(value: unknown, room: { left: number }): unknown {
  if (typeof value === 'string') {
    const kept = value.slice(0, Math.max(0, room.left));
    room.left -= kept.length;
    return kept;
  }
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return beginningOf(value, room).map((item) => shorten(item, room));
  return Object.fromEntries(
    beginningOf(Object.entries(value), room).map(([name, item]) => [
      name.slice(0, Math.max(0, room.left)),
      shorten(item, room),
    ]),
  );
}

/** Each member takes at least one character, so that very many empty ones end, too. */
function beginningOf<T>(members: readonly T[], room: { left: number }): readonly T[] {
  const kept = members.slice(0, Math.max(0, room.left));
  room.left -= kept.length;
  return kept;
}

/** The longest beginning of a text that fits into so many bytes of UTF-8 without breaking a character. */
export function clipUtf8(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length <= maxBytes) return text;
  let end = maxBytes;
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.toString('utf8', 0, end);
}
