/**
 * What the texts of a header may hold. They are kept for ever and shown wherever events are: nothing may stand in them that
 * turns a line around, ends it or cannot be seen.
 */
import type { EventHeader } from './event-header.ts';

/** The fields of a header that hold a text of somebody's own; all others are ids, numbers, or one of a few words. */
export const headerTextFields = [
  'agent',
  'tool',
  'toolUse',
  'rule',
] as const satisfies readonly (keyof EventHeader)[];

// Controls, marks of direction and width, halves of a pair, separators of lines, and whatever else is drawn as nothing.
const hidden = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;
const everyHidden = new RegExp(hidden, 'gu');

/** Whether a text holds a character that a reader cannot see, or that makes them read others elsewhere. */
export const hasHidden = (text: string): boolean => hidden.test(text);

/** The text with each such character as U+FFFD; as long as before in characters, and the same when done twice. */
export const showHidden = (text: string): string =>
  hasHidden(text) ? text.replaceAll(everyHidden, '\ufffd') : text;

/**
 * A text of somebody else's as it may stand in a header.
 *
 * @param limit Most UTF-16 code units; one of `headerLimits`, at least 10.
 * @param redact Takes secrets out. What is left after the cut is another text: when something is found in that, too, nothing
 * of it is kept.
 */
export function toHeaderText(text: string, limit: number, redact: (text: string) => string): string {
  const shown = showHidden(redact(text).slice(0, limit));
  return redact(shown) === shown ? shown : '[redacted]';
}
