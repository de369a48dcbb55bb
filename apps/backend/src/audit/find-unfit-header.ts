/** Looks at the texts of headers that clients send. A header is kept as it is or refused: nothing in it can be left out later. */
import { type CheckedEvent, hasHidden, headerTextFields } from '@kontext/audit';
import { isSurelyClean } from '@kontext/redaction';
import type { UnfitHeader } from './record-refused.ts';
import { withoutSecrets } from './withhold-payloads.ts';

/**
 * The first event with a text in its header that nobody should have to read: hidden characters, or what looks like a secret.
 *
 * For events that are about to be stored. What is stored already is not judged again, or a client that repeats it after an
 * upgrade would never get on.
 */
export function findUnfitHeader(events: readonly CheckedEvent[]): UnfitHeader | null {
  if (areSurelyFit(events)) return null;
  const fit = new Set<string>();
  for (const { seq, parsed } of events) {
    for (const field of headerTextFields) {
      const text = parsed[field];
      if (text === null || fit.has(text)) continue;
      if (hasHidden(text)) return { seq, why: `its header holds hidden characters in the field "${field}"` };
      if (showsSecret(text)) return { seq, why: `its header shows a secret in the field "${field}"` };
      fit.add(text);
    }
  }
  return null;
}

/** All texts in one look, which is what a batch costs as a rule. A blank between them takes no finding away. */
function areSurelyFit(events: readonly CheckedEvent[]): boolean {
  const texts: string[] = [];
  let before: CheckedEvent['parsed'] | null = null;
  for (const { parsed } of events) {
    for (const field of headerTextFields) {
      const text = parsed[field];
      if (text !== null && text !== before?.[field]) texts.push(text);
    }
    before = parsed;
  }
  const all = texts.join(' ');
  return !hasHidden(all) && isSurelyClean(all);
}

const showsSecret = (text: string): boolean => !isSurelyClean(text) && withoutSecrets(text) !== text;
