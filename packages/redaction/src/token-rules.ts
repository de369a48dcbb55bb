import type { Rule } from './rule.ts';
import { charClasses, isIn } from './runs.ts';
import type { Scan } from './scan.ts';
import type { TokenShape } from './token-shape.ts';
import { tokenShapes } from './token-shapes.ts';

const { word } = charClasses;

/** Tokens with a prefix of their provider's own. */
export const tokenRules: readonly Rule[] = tokenShapes.flatMap((shape) =>
  shape.prefixes.map((prefix) => tokenRule(shape, prefix)),
);

function tokenRule(shape: TokenShape, prefix: string): Rule {
  return {
    id: shape.id,
    anchors: [prefix.toLowerCase()],
    mayMatch: (glance, start) => glance.hasToken(start, prefix, shape.body, shape.min),
    match(scan, start, end) {
      if (!scan.hasAt(start, prefix) || (shape.border && isIn(word, scan.codes[start - 1]))) return 0;
      const to = scan.runs.endOf(shape.body, end);
      const length = to - end;
      if (length < shape.min || length > (shape.max ?? length)) return 0;
      if (shape.max !== undefined && isIn(word, scan.codes[to])) return 0;
      const isToken = shape.check?.(scan.text(end, Math.min(to, end + 512))) ?? true;
      // A run that was judged as a whole is not judged again at each prefix it holds.
      if (isToken) scan.mark(shape.id, start, withoutFullStop(scan, to));
      return to;
    },
  };
}

/** The full stop of a sentence is no part of the token before it. */
const withoutFullStop = (scan: Scan, to: number): number => (scan.char(to - 1) === '.' ? to - 1 : to);
