import { eventInvalid } from './event-invalid.ts';

/** Longest payload in bytes of UTF-8. What the payload holds is capped lower; this leaves room for JSON escapes. */
export const maxPayloadBytes = 131_072;

/** In Node since 20, in TypeScript's `lib` only from ES2024. */
type WellFormable = string & { isWellFormed(): boolean };

/**
 * Checks that a payload can be stored and read back byte for byte.
 *
 * A lone surrogate has no UTF-8 form and NUL does not fit a Postgres `text` column; `JSON.stringify` escapes both.
 *
 * @throws KontextError `KX_EVENT_INVALID` when it holds one of them or is over {@link maxPayloadBytes}.
 */
export function checkPayloadText(payload: string): void {
  if (payload.length > maxPayloadBytes || Buffer.byteLength(payload) > maxPayloadBytes) {
    throw eventInvalid('the payload is over 128 KiB');
  }
  if (payload.includes('\0') || !(payload as WellFormable).isWellFormed()) {
    throw eventInvalid('the payload holds NUL or a lone surrogate');
  }
}
