/** Comparisons that no call can ever satisfy, found by what each value can be. Best effort: silence proves nothing. */
import { entityOf, type Node, nodesOf, pathOf } from './rule-expression.ts';

/** Says what is odd about the literals of a rule's conditions, one sentence each. */
export function oddLiterals(conditions: readonly Node[]): readonly string[] {
  const nodes = conditions.flatMap((condition) => [...nodesOf(condition)]);
  return [
    ...new Set([...nodes.flatMap(oddEntity), ...nodes.flatMap(oddComparison), ...nodes.flatMap(oddLike)]),
  ];
}

type Check = (value: string) => string | null;

const among =
  (...known: readonly string[]): Check =>
  (value) =>
    known.includes(value) ? null : `it is one of ${known.join(', ')}`;
const program: Check = (value) => (value.includes('/') ? 'a program is named without its directory' : null);
const flag: Check = (value) =>
  !value.startsWith('-')
    ? 'an option begins with "-"'
    : value.includes('=')
      ? 'an option stands without its value, as "--force" for "--force=x"'
      : null;
const absolute: Check = (value) =>
  value === '' || value.startsWith('/') ? null : 'it is an absolute path, with "~" and ".." resolved';

/** What each attribute can be; an attribute of the resource only where every kind of resource that has it agrees. */
const attributes: Readonly<Record<string, Check>> = {
  'context.event': among('PreToolUse', 'PermissionRequest', 'Elicitation'),
  'context.opaqueCauses': among('unreadable', 'malformed', 'unparsed', 'dynamic', 'clipped'),
  'context.mode': among('observe', 'enforce'),
  'context.programs': program,
  'context.cwd': absolute,
  'resource.access': among('read', 'write', 'argument'),
  'resource.flags': flag,
  'resource.via': program,
  'resource.pipedFrom': program,
  'resource.program': program,
  'resource.name': (value) => (value.includes('/') ? 'it is a name without directories' : null),
};

const entities: Readonly<Record<string, Check>> = {
  Command: program,
  File: absolute,
  Host: (id) =>
    id !== id.toLowerCase() || /[:/]/.test(id) ? 'a host is in lower case, without scheme and port' : null,
  McpTool: (id) => (id.includes('/') ? null : 'a tool of an MCP server is named "server/tool"'),
  Tool: (id) =>
    id.startsWith('mcp__') ? 'a tool of an MCP server is an McpTool, as McpTool::"server/tool"' : null,
};

function oddEntity(node: Node): readonly string[] {
  const entity = entityOf(node);
  const why = entity && entities[entity.type]?.(entity.id);
  return entity && why ? [`nothing is ${entity.type}::${JSON.stringify(entity.id)}: ${why}`] : [];
}

const comparing = new Set(['==', 'contains', 'containsAll', 'containsAny']);
const flat = ['File', 'Command', 'Host', 'Tool', 'McpTool'];

function oddComparison({ op, args: [left, right] }: Node): readonly string[] {
  if (!left || !right) return [];
  if (op === 'in') {
    const entity = entityOf(right);
    return entity && flat.includes(entity.type)
      ? [
          `"in ${entity.type}::${JSON.stringify(entity.id)}" holds only for itself: nothing is inside a ${entity.type}`,
        ]
      : [];
  }
  if (!comparing.has(op)) return [];
  return [...oddValues(left, right), ...oddValues(right, left)];
}

function oddValues(subject: Node, other: Node): readonly string[] {
  const path = pathOf(subject);
  if (path === null) return [];
  return literalsOf(other).flatMap((value) => {
    const why = typeof value === 'string' ? attributes[path]?.(value) : oddNumber(path, value);
    return why ? [`${path} is never ${JSON.stringify(value)}: ${why}`] : [];
  });
}

function oddNumber(path: string, value: number): string | null {
  if (path === 'context.hour' && (value < 0 || value > 23)) return 'hours go from 0 to 23';
  if (path === 'context.weekday' && (value < 1 || value > 7))
    return 'weekdays go from 1 (Monday) to 7 (Sunday)';
  return null;
}

function literalsOf(node: Node): readonly (string | number)[] {
  if (node.op === 'set') return node.args.flatMap(literalsOf);
  if (node.op !== 'value') return [];
  return typeof node.value === 'string' || typeof node.value === 'number' ? [node.value] : [];
}

function oddLike({ op, pattern }: Node): readonly string[] {
  if (op !== 'like' || pattern.includes('Wildcard')) return [];
  const text = pattern.map((piece) => (piece === 'Wildcard' ? '*' : piece.Literal)).join('');
  return [`like ${JSON.stringify(text)} has no "*", so it holds only for exactly that text`];
}
