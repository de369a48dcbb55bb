/**
 * What the strict validator lets through although it may fail when it is evaluated: arithmetic that leaves 64 bits, and
 * attributes of entities that are not in the request.
 *
 * Cedar skips a rule that fails; here that denies the call, whatever the rule was about.
 */
import { entityOf, type Node, nodesOf, pathOf } from './rule-expression.ts';

/** Why a condition may fail to evaluate. */
interface FailureRisk {
  /** Whether it fails whenever it is reached. */
  readonly certain: boolean;
  readonly message: string;
}

/** Finds what may fail in a rule's conditions. */
export function failureRisks(conditions: readonly Node[]): readonly FailureRisk[] {
  const nodes = conditions.flatMap((condition) => [...nodesOf(condition)]);
  return [...nodes.flatMap(strangerRisk), ...nodes.flatMap(arithmeticRisk)];
}

/** Only the user and the resource of the request are known: any other entity "does not exist". */
function strangerRisk({ op, name, args: [left] }: Node): readonly FailureRisk[] {
  if ((op !== '.' && op !== 'getTag') || !left) return [];
  const stranger = results(left)
    .map(entityOf)
    .find((entity) => entity !== null);
  if (!stranger) return [];
  const message = `${stranger.type}::${JSON.stringify(stranger.id)}.${name} cannot be read: only the user and the resource are known`;
  return [{ certain: true, message }];
}

/** What an expression may come to. */
const results = (node: Node): readonly Node[] =>
  node.op === 'if-then-else' ? node.args.slice(1).flatMap(results) : [node];

const arithmetic: Readonly<Record<string, string>> = {
  ...{ '+': 'the sum', '-': 'the difference', '*': 'the product', neg: 'the negation' },
  ...{ offset: 'the offset', durationSince: 'the duration' },
};

function arithmeticRisk(node: Node): readonly FailureRisk[] {
  const word = arithmetic[node.op];
  if (word === undefined) return [];
  const range = rangeOf(node);
  if (range && range[0] >= minLong && range[1] <= maxLong) return [];
  const certain = range !== null && (range[1] < minLong || range[0] > maxLong);
  return [{ certain, message: `${word} ${certain ? 'does' : 'may'} not fit into 64 bits` }];
}

const minLong = -(2n ** 63n);
const maxLong = 2n ** 63n - 1n;
const dayMs = 86_400_000n;
/** Years 1970 to 9999, in milliseconds. */
const clock: Range = [0n, 253_402_300_799_999n];

/** Smallest and largest value. */
type Range = readonly [bigint, bigint];

const known: Readonly<Record<string, Range>> = {
  ...{ 'context.hour': [0n, 23n], 'context.weekday': [1n, 7n], 'context.at': clock },
};
const perUnit: Readonly<Record<string, bigint>> = {
  ...{ toMilliseconds: 1n, toSeconds: 1000n, toMinutes: 60_000n, toHours: 3_600_000n, toDays: dayMs },
};

/** Between what a number, instant or duration (both in milliseconds) lies; null when that cannot be told. */
function rangeOf(node: Node): Range | null {
  if (node.op === 'value')
    return typeof node.value === 'number' ? [BigInt(node.value), BigInt(node.value)] : null;
  const path = pathOf(node);
  if (path !== null) return known[path] ?? null;
  if (node.op === 'datetime' || node.op === 'duration') return literalRange(node);
  if (node.op === 'toTime') return [0n, dayMs - 1n];
  const ranges = (node.op === 'if-then-else' ? node.args.slice(1) : node.args).map(rangeOf);
  const [left, right] = ranges;
  if (!left) return null;
  const unit = perUnit[node.op];
  if (unit !== undefined) return [left[0] / unit, left[1] / unit];
  if (node.op === 'neg') return [-left[1], -left[0]];
  if (node.op === 'toDate') return [left[0] - dayMs, left[1]];
  return right ? combined(node.op, left, right) : null;
}

function combined(op: string, [a, b]: Range, [c, d]: Range): Range | null {
  switch (op) {
    case '+':
    case 'offset':
      return [a + c, b + d];
    case '-':
    case 'durationSince':
      return [a - d, b - c];
    case '*':
      return spanOf([a * c, a * d, b * c, b * d]);
    case 'if-then-else':
      return spanOf([a, b, c, d]);
    default:
      return null;
  }
}

const spanOf = (values: readonly bigint[]): Range => [
  values.reduce((low, value) => (value < low ? value : low)),
  values.reduce((high, value) => (value > high ? value : high)),
];

function literalRange({ op, args: [text] }: Node): Range | null {
  const value = text?.value;
  if (typeof value !== 'string') return null;
  const ms = op === 'duration' ? durationMs(value) : instantMs(value);
  return ms === null ? null : [ms, ms];
}

function instantMs(text: string): bigint | null {
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? null : BigInt(ms);
}

/** `1d2h3m4s5ms`, as Cedar's validator has already accepted it. */
function durationMs(text: string): bigint | null {
  const units: Readonly<Record<string, bigint>> = { d: dayMs, h: 3_600_000n, m: 60_000n, s: 1000n, ms: 1n };
  let sum = 0n;
  for (const [, count, unit] of text.matchAll(/(\d+)(ms|d|h|m|s)/g))
    sum += BigInt(count ?? 0) * (units[unit ?? ''] ?? 0n);
  return text.startsWith('-') ? -sum : sum;
}
