import type { CedarValueJson, Expr, PatternElem, PolicyJson } from '@cedar-policy/cedar-wasm/web';

/** A node of a rule's condition: Cedar's JSON in one shape for every operator, so that it can be walked. */
export interface Node {
  /** `value`, `var`, `set`, `record`, else the operator or function as Cedar's JSON names it. */
  readonly op: string;
  readonly args: readonly Node[];
  /** Variable, attribute or entity type; names of a record's members joined. */
  readonly name: string;
  /** Of a `value`. */
  readonly value: CedarValueJson;
  /** Of a `like`. */
  readonly pattern: readonly PatternElem[];
}

/** A rule as conditions that must all hold, its head among them. */
export function conditionsOf(policy: PolicyJson): readonly Node[] {
  const bodies = policy.conditions.map(({ kind, body }) => {
    const condition = nodeOf(body);
    return kind === 'when' ? condition : node('!', { args: [condition] });
  });
  const heads = (['principal', 'action', 'resource'] as const).flatMap((name) => headOf(name, policy[name]));
  return [...heads, ...bodies].flatMap(conjuncts);
}

/** Every node of a condition, itself first. */
export function* nodesOf(top: Node): Generator<Node> {
  const open = [top];
  for (let next = open.pop(); next; next = open.pop()) {
    yield next;
    open.push(...next.args);
  }
}

/** The type and id an entity literal names; null for every other node. */
export function entityOf({ op, value }: Node): { readonly type: string; readonly id: string } | null {
  if (op !== 'value' || typeof value !== 'object' || value === null) return null;
  const entity = '__entity' in value ? value.__entity : null;
  return isTypeAndId(entity) ? entity : null;
}

/** `context.event` for an attribute of a variable; null for every other node. */
export function pathOf({ op, name, args: [left] }: Node): string | null {
  return op === '.' && left?.op === 'var' ? `${left.name}.${name}` : null;
}

const isTypeAndId = (value: unknown): value is { type: string; id: string } =>
  typeof value === 'object' && value !== null && 'type' in value && 'id' in value;

const node = (op: string, more: Partial<Node> = {}): Node => ({
  ...{ op, args: [], name: '', value: null, pattern: [] },
  ...more,
});

function conjuncts(condition: Node): readonly Node[] {
  if (condition.op === '&&') return condition.args.flatMap(conjuncts);
  return condition.op === 'value' && condition.value === true ? [] : [condition];
}

type Head = PolicyJson['principal'] | PolicyJson['action'] | PolicyJson['resource'];

function headOf(name: 'principal' | 'action' | 'resource', head: Head): readonly Node[] {
  const subject = node('var', { name });
  switch (head.op) {
    case 'All':
      return [];
    case '==':
      return 'entity' in head ? [node('==', { args: [subject, literal(head.entity)] })] : [];
    case 'is': {
      const group = head.in && 'entity' in head.in ? [literal(head.in.entity)] : [];
      return [node('is', { name: head.entity_type, args: [subject, ...group] })];
    }
    case 'in': {
      if ('entities' in head) {
        const args = head.entities.map(literal);
        return [node('in', { args: [subject, node('set', { args })] })];
      }
      return 'entity' in head ? [node('in', { args: [subject, literal(head.entity)] })] : [];
    }
  }
}

const literal = (entity: object): Node =>
  node('value', { value: { __entity: '__entity' in entity ? entity.__entity : entity } as CedarValueJson });

interface Parts {
  readonly left?: Expr;
  readonly right?: Expr;
  readonly arg?: Expr;
  readonly if?: Expr;
  readonly then?: Expr;
  readonly else?: Expr;
  readonly in?: Expr;
  readonly attr?: string | readonly string[];
  readonly entity_type?: string;
  readonly pattern?: readonly PatternElem[];
}

function nodeOf(expression: Expr): Node {
  const [entry] = Object.entries(expression as Readonly<Record<string, unknown>>);
  if (!entry) return node('value');
  const [op, body] = entry;
  if (op === 'Value') return valueNode(body as CedarValueJson);
  if (op === 'Var') return node('var', { name: String(body) });
  if (op === 'Set') return node('set', { args: (body as Expr[]).map(nodeOf) });
  if (Array.isArray(body)) return node(op, { args: body.map(nodeOf) });
  if (op === 'Record') {
    const members = Object.entries(body as Record<string, Expr>).sort(([a], [b]) => (a < b ? -1 : 1));
    const name = JSON.stringify(members.map(([member]) => member));
    return node('record', { name, args: members.map(([, value]) => nodeOf(value)) });
  }
  const parts = body as Parts;
  const operands = [parts.left, parts.right, parts.arg, parts.if, parts.then, parts.else, parts.in];
  return node(op, {
    args: operands.flatMap((operand) => (operand === undefined ? [] : [nodeOf(operand)])),
    name: parts.entity_type ?? (parts.attr === undefined ? '' : [parts.attr].flat().join('.')),
    pattern: parts.pattern ?? [],
  });
}

/** Cedar may fold a set of literals into one value; here it is always a set. */
const valueNode = (value: CedarValueJson): Node =>
  Array.isArray(value) ? node('set', { args: value.map(valueNode) }) : node('value', { value });
