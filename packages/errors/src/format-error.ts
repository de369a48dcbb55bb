import { KontextError } from './kontext-error.ts';

/**
 * The three lines a person sees: what happened, why, what to do next.
 *
 * Anything that is not a {@link KontextError} is shown as `KX_INTERNAL` without its text, which could hold a secret.
 *
 * @returns Lines without a trailing newline, each prefixed `kontext:`.
 */
export function formatError(error: unknown): string {
  const shown = error instanceof KontextError ? error : new KontextError('KX_INTERNAL', 'unexpected failure');
  return [
    `kontext: error: ${printable(shown.message)}`,
    `kontext: why: ${printable(shown.why)} (${shown.code})`,
    `kontext: next: ${printable(shown.hint)}`,
  ].join('\n');
}

/** Control characters (from hostile file names, server texts) must not reach a terminal. */
function printable(text: string): string {
  return text.replace(/\p{Cc}|\p{Bidi_Control}/gu, (c) =>
    c === '\n' ? ' ' : `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
