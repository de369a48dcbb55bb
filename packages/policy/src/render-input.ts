/**
 * A tool's input as text that rules can match: JSON without spaces, bounded in every direction.
 *
 * Members stand from short to long (ties by name), not by name alone: a long text, such as the content of a file,
 * then cannot push a short one, such as its path, beyond the limit.
 */

/** Longest text of one field of a request, in UTF-16 code units: Cedar's cost grows with it. */
export const maxTextLength = 16_384;
/** Most members of one list or object, and most groups. */
export const maxListLength = 100;
const maxDepth = 64;
const maxNodes = 10_000;

/** What was lost on the way: nothing, the end of long texts, or the meaning. */
export type Loss = '' | 'clipped' | 'malformed';

/** A text and what it lacks. */
export interface Rendered {
  readonly text: string;
  readonly loss: Loss;
}

/** The worse of two losses. */
export const worse = (a: Loss, b: Loss): Loss =>
  a === 'malformed' || b === 'malformed' ? 'malformed' : a || b;

/**
 * Makes a text fit for Cedar: at most 16 Ki code units, and valid Unicode.
 *
 * A lone surrogate (which JSON can spell) makes Cedar's bindings throw; it is replaced by U+FFFD.
 */
export function fitText(text: string): Rendered {
  const clipped = text.length > maxTextLength;
  const cut = clipped ? text.slice(0, maxTextLength) : text;
  // Under the u flag only a surrogate without its partner matches. One that the cut itself made is no defect of the text.
  const wellFormed = cut.replace(/\p{Surrogate}/gu, '\ufffd');
  const malformed = wellFormed !== cut && /\p{Surrogate}/u.test(text);
  return { text: wellFormed, loss: malformed ? 'malformed' : clipped ? 'clipped' : '' };
}

/**
 * Renders a redacted input.
 *
 * Strings are cut at 16 Ki code units, lists and objects at 100 members, nesting at 64, the whole at 16 Ki.
 * Never calls `toJSON`; values JSON cannot hold become null and count as malformed.
 */
export function renderInput(input: unknown): Rendered {
  const state = { nodes: 0, loss: '' as Loss };
  const whole = fitText(render(input, 0, state));
  return { text: whole.text, loss: worse(whole.loss, state.loss) };
}

function render(value: unknown, depth: number, state: { nodes: number; loss: Loss }): string {
  state.nodes += 1;
  if (state.nodes > maxNodes) return lose(state, 'clipped');
  if (depth > maxDepth) return lose(state, 'malformed');
  if (typeof value === 'string') return renderString(value, state);
  if (Array.isArray(value)) {
    const items = take(value, state).map((item: unknown) => render(item, depth + 1, state));
    return `[${items.join(',')}]`;
  }
  if (typeof value === 'object' && value !== null) {
    const members = take(Object.entries(value), state).map(
      ([name, member]) => `${renderString(name, state)}:${render(member, depth + 1, state)}`,
    );
    members.sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
    return `{${members.join(',')}}`;
  }
  const isJson = value === null || typeof value === 'boolean' || Number.isFinite(value);
  return isJson ? String(value) : lose(state, 'malformed');
}

function renderString(text: string, state: { loss: Loss }): string {
  const fitted = fitText(text);
  state.loss = worse(state.loss, fitted.loss);
  return JSON.stringify(fitted.text);
}

function take<T>(items: readonly T[], state: { loss: Loss }): readonly T[] {
  if (items.length <= maxListLength) return items;
  state.loss = worse(state.loss, 'clipped');
  return items.slice(0, maxListLength);
}

function lose(state: { loss: Loss }, loss: Loss): string {
  state.loss = worse(state.loss, loss);
  return 'null';
}
