import type { Node } from './rule-expression.ts';

/** A rule as far as it matters for which one is named. */
interface ReachRule {
  readonly id: string;
  /** See `rankOf`. */
  readonly rank: number;
  /** What must all hold. */
  readonly conditions: readonly Node[];
}

/**
 * Finds rules that never decide anything: wherever one matches, another one matches too and is named instead, because
 * its effect is worse, or as bad and it comes first.
 *
 * Compares conditions as they are written: what only reasoning would find equal is not found.
 *
 * @returns Pairs of ids: the rule, and the one that decides instead.
 */
export function shadowedRules(rules: readonly ReachRule[]): ReadonlyMap<string, string> {
  const read = rules.map((rule) => ({ ...rule, keys: new Set(rule.conditions.map(keyOf)) }));
  const shadowed = new Map<string, string>();
  // Every pair, but only where the other has fewer or as many conditions: 2,000 rules are 4 million cheap comparisons.
  for (const [place, rule] of read.entries()) {
    const other = read.find(
      (candidate, otherPlace) =>
        otherPlace !== place &&
        candidate.conditions.length <= rule.conditions.length &&
        (candidate.rank > rule.rank || (candidate.rank === rule.rank && otherPlace < place)) &&
        candidate.conditions.every((condition) => follows(condition, rule.keys)),
    );
    if (other) shadowed.set(rule.id, other.id);
  }
  return shadowed;
}

/** Whether a condition holds wherever all of the others hold. Errs towards false. */
function follows(condition: Node, keys: ReadonlySet<string>): boolean {
  if (keys.has(keyOf(condition))) return true;
  if (condition.op === '||') return condition.args.some((side) => follows(side, keys));
  return condition.op === '&&' && condition.args.every((side) => follows(side, keys));
}

const cache = new WeakMap<Node, string>();

function keyOf(node: Node): string {
  const known = cache.get(node);
  if (known !== undefined) return known;
  const key = JSON.stringify(node);
  cache.set(node, key);
  return key;
}
