/**
 * Tells rules that surely do not match a request, so that Cedar need not be asked about them: an evaluation costs a
 * tenth of a millisecond and more, and most calls match no rule at all.
 *
 * Cedar decides. Here a rule is left out only where a walk over its condition, in Cedar's own order, comes to "false" by
 * way of nothing but known values. Whatever is not known for certain (an operator, an attribute that is not there, a
 * value of the wrong type, anything Cedar could call an error) ends the walk, and the rule is asked.
 */
import type { PatternElem, PolicyJson } from '@cedar-policy/cedar-wasm/web';
import {
  entityKey,
  isSet,
  type Known,
  type KnownEntity,
  keyOf,
  known,
  type RequestFacts,
} from './request-facts.ts';
import { conditionsOf, entityOf, type Node } from './rule-expression.ts';

/** Whether a rule neither matches a request nor fails on it; false where that is not certain. */
export type Misses = (facts: RequestFacts) => boolean;

type Evaluate = (facts: RequestFacts) => Known;

/** Makes the test of one rule. */
export function compileMiss(policy: PolicyJson): Misses {
  const conditions = conditionsOf(policy).map(compile);
  return (facts) => {
    for (const condition of conditions) {
      const holds = condition(facts);
      if (holds !== true) return holds === false;
    }
    return false;
  };
}

const unknown: Evaluate = () => undefined;

function compile(node: Node): Evaluate {
  const { op, args, name } = node;
  if (op === 'value') return compileLiteral(node);
  if (op === 'set') return compileSet(args);
  if (op === 'var') return entityVariables.has(name) ? (facts) => facts[name as 'principal'] : unknown;
  if (op === '.' || op === 'has') return compileAttribute(node);
  const [first = unknown, second, third] = args.map(compile);
  if (op === 'if-then-else') return second && third ? choose(first, second, third) : unknown;
  if (op === 'is') return compileIs(name, first, second);
  if (op === 'like') return compileLike(first, node.pattern);
  const unary = Object.hasOwn(unaries, op) ? unaries[op] : undefined;
  if (unary && args.length === 1) return (facts) => unary(first(facts));
  if (second === undefined || args.length !== 2) return unknown;
  if (op === '&&') return both(first, second, true);
  if (op === '||') return both(first, second, false);
  const binary = Object.hasOwn(binaries, op) ? binaries[op] : undefined;
  return binary ? (facts) => binary(first(facts), second(facts)) : unknown;
}

const entityVariables: ReadonlySet<string> = new Set(['principal', 'action', 'resource']);

/** The right side counts where the left is `goesOn`; else it is not even looked at, as in Cedar. */
const both =
  (left: Evaluate, right: Evaluate, goesOn: boolean): Evaluate =>
  (facts) => {
    const decided = left(facts);
    return decided === goesOn ? asBoolean(right(facts)) : decided === !goesOn ? decided : undefined;
  };

const choose =
  (when: Evaluate, then: Evaluate, otherwise: Evaluate): Evaluate =>
  (facts) => {
    const holds = asBoolean(when(facts));
    return holds === undefined ? undefined : holds ? then(facts) : otherwise(facts);
  };

const asBoolean = (value: Known): boolean | undefined => (typeof value === 'boolean' ? value : undefined);

function compileLiteral(node: Node): Evaluate {
  const entity = entityOf(node);
  // Of an entity that a rule names only the name is known here.
  const value: Known = entity
    ? { type: entity.type, key: entityKey(entity.type, entity.id), ancestors: null, attrs: null }
    : known(node.value);
  return () => value;
}

function compileSet(members: readonly Node[]): Evaluate {
  // Cedar knows the members of a rule's own set before any request; one that is not plain leaves the set unknown.
  if (!members.every(({ op }) => op === 'value')) return unknown;
  const keys = members.map((member) => keyOf(compileLiteral(member)(noFacts)));
  const plain = new Set(keys.filter((key) => key !== null));
  return keys.includes(null) ? unknown : () => plain;
}

const nobody: KnownEntity = { type: '', key: '', ancestors: null, attrs: null };
/** Literals look at none. */
const noFacts: RequestFacts = { principal: nobody, action: nobody, resource: nobody, context: new Map() };

/** `context.x`, `resource.x` and `has`, of variables only. */
function compileAttribute({ op, args: [left], name }: Node): Evaluate {
  if (left?.op !== 'var') return unknown;
  const of = left.name;
  const recordIn = (facts: RequestFacts) =>
    of === 'context' ? facts.context : entityVariables.has(of) ? facts[of as 'principal'].attrs : null;
  if (op === '.') return (facts) => recordIn(facts)?.get(name);
  // Several attributes in a row are joined by dots.
  return name.includes('.') ? unknown : (facts) => recordIn(facts)?.has(name);
}

function compileIs(type: string, left: Evaluate, group: Evaluate | undefined): Evaluate {
  const isType: Evaluate = (facts) => {
    const entity = left(facts);
    return isEntity(entity) ? entity.type === type : undefined;
  };
  if (group === undefined) return isType;
  return both(isType, (facts) => isIn(left(facts), group(facts)), true);
}

const not = (value: Known): Known => (typeof value === 'boolean' ? !value : undefined);

const unaries: Readonly<Record<string, (value: Known) => Known>> = {
  '!': not,
  isEmpty: (value) => (isSet(value) ? value.size === 0 : undefined),
};

const binaries: Readonly<Record<string, (left: Known, right: Known) => Known>> = {
  '==': (left, right) => equal(left, right),
  '!=': (left, right) => not(equal(left, right)),
  '<': (left, right) => compare(left, right, (a, b) => a < b),
  '<=': (left, right) => compare(left, right, (a, b) => a <= b),
  '>': (left, right) => compare(left, right, (a, b) => a > b),
  '>=': (left, right) => compare(left, right, (a, b) => a >= b),
  in: (left, right) => isIn(left, right),
  contains(set, member) {
    const key = keyOf(member);
    return isSet(set) && key !== null ? set.has(key) : undefined;
  },
  containsAll: (set, members) =>
    isSet(set) && isSet(members) ? [...members].every((key) => set.has(key)) : undefined,
  containsAny: (set, members) => (isSet(set) && isSet(members) ? shareMember(set, members) : undefined),
};

function equal(left: Known, right: Known): Known {
  const [a, b] = [keyOf(left), keyOf(right)];
  return a === null || b === null ? undefined : a === b;
}

const compare = (left: Known, right: Known, holds: (a: number, b: number) => boolean): Known =>
  typeof left === 'number' && typeof right === 'number' ? holds(left, right) : undefined;

function shareMember(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  const [few, many] = a.size < b.size ? [a, b] : [b, a];
  for (const key of few) if (many.has(key)) return true;
  return false;
}

const isEntity = (value: Known): value is KnownEntity => typeof value === 'object' && !isSet(value);

function isIn(left: Known, right: Known): Known {
  if (!isEntity(left) || left.ancestors === null) return undefined;
  if (isEntity(right)) return left.ancestors.has(right.key);
  // A member that is no entity is an error.
  if (!isSet(right) || ![...right].every((key) => key.startsWith('entity '))) return undefined;
  return shareMember(left.ancestors, right);
}

function compileLike(of: Evaluate, pattern: readonly PatternElem[]): Evaluate {
  const pieces = [''];
  for (const element of pattern) {
    if (element === 'Wildcard') pieces.push('');
    else pieces[pieces.length - 1] += element.Literal;
  }
  return (facts) => {
    const text = of(facts);
    return typeof text === 'string' ? isLike(text, pieces) : undefined;
  };
}

/** @param pieces What stands between the wildcards. Both are valid Unicode, so that a match of code units is one of characters. */
function isLike(text: string, pieces: readonly string[]): boolean {
  const [first = '', ...rest] = pieces;
  const last = rest.pop();
  if (last === undefined) return text === first;
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last))
    return false;
  let at = first.length;
  const end = text.length - last.length;
  for (const piece of rest) {
    const found = text.indexOf(piece, at);
    if (found < 0 || found + piece.length > end) return false;
    at = found + piece.length;
  }
  return true;
}
