/** A stretch of a word. Text, or what stands for a value. */
export interface Piece {
  readonly text: string;
  /** In quotes or behind a backslash: no globs, no braces, no splitting. */
  readonly quoted: boolean;
  /** Only running tells what it is. */
  readonly unknown: boolean;
  /** A known value that is split at white space. */
  readonly split: boolean;
}

/** More words than this out of one are not worth having. */
const maxWords = 64;

/** Text as bash would use it at its place, without any meaning. */
export const quotedPiece = (text: string): Piece => ({ text, quoted: true, unknown: false, split: false });

const isMark = (piece: Piece | undefined, mark: string): boolean =>
  piece !== undefined && !piece.quoted && !piece.unknown && !piece.split && piece.text === mark;

/**
 * Expands `a{b,c}d` and `{1..3}` (bash manual, "Brace Expansion").
 *
 * @returns One list of pieces per word; null when there would be too many words.
 */
export function expandBraces(pieces: readonly Piece[]): readonly (readonly Piece[])[] | null {
  if (!pieces.some((piece) => !piece.quoted && piece.text.includes('{'))) return [pieces];
  const units = pieces.flatMap((piece) =>
    piece.quoted || piece.unknown || piece.split
      ? [piece]
      : [...piece.text].map((text) => ({ ...piece, text })),
  );
  const budget = { steps: 4000 };
  return expandUnits(units, budget, 0);
}

type Words = readonly (readonly Piece[])[] | null;

function expandUnits(units: readonly Piece[], budget: { steps: number }, depth: number): Words {
  if (depth > 20) return null;
  let open = 0;
  while (open < units.length) {
    budget.steps -= 1;
    if (budget.steps < 0) return null;
    const opens = isMark(units[open], '{') && !followsDollar(units, open);
    const group = opens ? groupAt(units, open, budget) : null;
    // Bash looks for another end of such a group: {a},b} is a} and b. Nobody writes that for want of another way.
    if (opens && group === null && hasLaterGroup(units, open)) return null;
    if (group !== null) {
      const heads = units.slice(0, open);
      return combine(heads, group.options, units.slice(group.end), budget, depth);
    }
    open += 1;
  }
  return [units];
}

const hasLaterGroup = (units: readonly Piece[], open: number): boolean => {
  const comma = units.findIndex((unit, at) => at > open && isMark(unit, ','));
  return comma > open && units.some((unit, at) => at > comma && isMark(unit, '}'));
};

const followsDollar = (units: readonly Piece[], at: number): boolean => isMark(units[at - 1], '$');

function combine(
  head: readonly Piece[],
  options: readonly (readonly Piece[])[],
  rest: readonly Piece[],
  budget: { steps: number },
  depth: number,
): Words {
  const tails = expandUnits(rest, budget, depth + 1);
  if (tails === null) return null;
  const words: (readonly Piece[])[] = [];
  for (const option of options) {
    const middles = expandUnits(option, budget, depth + 1);
    if (middles === null) return null;
    for (const middle of middles) {
      for (const tail of tails) {
        words.push([...head, ...middle, ...tail]);
        budget.steps -= head.length + middle.length + tail.length;
        if (words.length > maxWords || budget.steps < 0) return null;
      }
    }
  }
  return words;
}

/** The brace group that opens at `open`, when it has a comma or is a sequence. */
function groupAt(units: readonly Piece[], open: number, budget: { steps: number }) {
  let depth = 0;
  let from = open + 1;
  const options: (readonly Piece[])[] = [];
  for (let at = open; at < units.length; at += 1) {
    budget.steps -= 1;
    if (budget.steps < 0) return null;
    if (isMark(units[at], '{')) depth += 1;
    else if (isMark(units[at], '}')) depth -= 1;
    else if (depth === 1 && isMark(units[at], ',')) {
      options.push(units.slice(from, at));
      from = at + 1;
    }
    if (depth > 0) continue;
    options.push(units.slice(from, at));
    if (options.length > 1) return { options, end: at + 1 };
    const sequence = sequenceOf(units.slice(from, at));
    return sequence === null ? null : { options: sequence, end: at + 1 };
  }
  return null;
}

/** `1..5`, `a..e`, `1..9..2`; anything larger than what is kept is cut there by the caller. */
function sequenceOf(units: readonly Piece[]): readonly (readonly Piece[])[] | null {
  if (units.some((unit) => unit.quoted || unit.unknown || unit.split)) return null;
  const text = units.map((unit) => unit.text).join('');
  const match = /^(?:(-?\d{1,9})\.\.(-?\d{1,9})|([a-zA-Z])\.\.([a-zA-Z]))(?:\.\.(-?\d{1,9}))?$/.exec(text);
  if (match === null) return null;
  const [, first, last, firstChar = '', lastChar = '', by] = match;
  const from = first === undefined ? firstChar.charCodeAt(0) : Number(first);
  const to = last === undefined ? lastChar.charCodeAt(0) : Number(last);
  const step = Math.max(1, Math.abs(Number(by ?? 1))) * (to < from ? -1 : 1);
  const words: (readonly Piece[])[] = [];
  for (let value = from; (step > 0 ? value <= to : value >= to) && words.length <= maxWords; value += step) {
    words.push([
      quotedPiece(first === undefined ? String.fromCharCode(value) : padded(value, first, last ?? '')),
    ]);
  }
  return words;
}

function padded(value: number, first: string, last: string): string {
  const zeros = [first, last].some((text) => /^-?0\d/.test(text));
  if (!zeros) return String(value);
  const width = Math.max(first.length, last.length);
  const digits = String(Math.abs(value)).padStart(value < 0 ? width - 1 : width, '0');
  return value < 0 ? `-${digits}` : digits;
}
