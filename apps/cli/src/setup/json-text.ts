/**
 * JSON as text whose places are known, so that a file of somebody else's can be changed in one place and kept byte for byte
 * everywhere else. Only what `JSON.parse` takes is taken; comments are not.
 */

/** A value and where it stands; `end` is the offset after it. */
export type JsonNode = {
  readonly start: number;
  readonly end: number;
  readonly value: unknown;
} & (
  | { readonly kind: 'object'; readonly members: readonly JsonMember[] }
  | { readonly kind: 'array'; readonly items: readonly JsonNode[] }
  | { readonly kind: 'scalar' }
);

/** A member of an object; `start` is that of its key. */
export interface JsonMember {
  readonly start: number;
  readonly key: string;
  readonly node: JsonNode;
}

/**
 * Reads a text and where everything in it stands.
 *
 * @throws SyntaxError when it is no JSON, or deeper than 200.
 */
export function parsePlaces(text: string): JsonNode {
  JSON.parse(text);
  // What follows may trust the grammar: the text has just been accepted.
  let at = 0;
  const skip = (): void => {
    while (' \t\r\n'.includes(text[at] ?? 'x')) at += 1;
  };
  const readString = (): string => {
    const start = at;
    at += 1;
    while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
    at += 1;
    return JSON.parse(text.slice(start, at)) as string;
  };
  const readList = <T>(close: string, readOne: () => T): T[] => {
    const list: T[] = [];
    at += 1;
    skip();
    while (text[at] !== close) {
      if (text[at] === ',') at += 1;
      skip();
      list.push(readOne());
      skip();
    }
    at += 1;
    return list;
  };
  const readMember = (depth: number): JsonMember => {
    const start = at;
    const key = readString();
    skip();
    at += 1;
    return { start, key, node: readNode(depth) };
  };
  const readNode = (depth: number): JsonNode => {
    if (depth > 200) throw new SyntaxError('it is nested too deeply');
    skip();
    const start = at;
    const place = () => ({ start, end: at, value: JSON.parse(text.slice(start, at)) as unknown });
    if (text[at] === '{') {
      const members = readList('}', () => readMember(depth + 1));
      return { kind: 'object', members, ...place() };
    }
    if (text[at] === '[') {
      const items = readList(']', () => readNode(depth + 1));
      return { kind: 'array', items, ...place() };
    }
    if (text[at] === '"') readString();
    else while (!' \t\r\n,]}'.includes(text[at] ?? ' ')) at += 1;
    return { kind: 'scalar', ...place() };
  };
  return readNode(0);
}

/** How a text is laid out. */
export interface JsonStyle {
  /** One step to the right; null where everything stands on one line. */
  readonly indent: string | null;
  readonly newline: string;
}

/** Takes the layout from the first member that stands on a line of its own; two spaces where there is nothing to see. */
export function detectStyle(text: string): JsonStyle {
  const found = /[{[](\r?\n)([ \t]+)\S/.exec(text);
  if (found !== null) return { newline: found[1] ?? '\n', indent: found[2] ?? '  ' };
  const isPacked = /[{[][ \t]*[^\s{}[\]]/.test(text);
  return { newline: text.includes('\r\n') ? '\r\n' : '\n', indent: isPacked ? null : '  ' };
}

/** @param depth How deep the value stands: its closing bracket is indented by so many steps. */
export function printJson(value: unknown, style: JsonStyle, depth: number): string {
  if (style.indent === null) return JSON.stringify(value);
  const lines = JSON.stringify(value, null, style.indent).split('\n');
  return lines.join(style.newline + style.indent.repeat(depth));
}

/**
 * Adds an entry behind the last one of an object or list.
 *
 * @param entry Its text, with key where the container is an object.
 * @param depth How deep the container stands.
 */
export function appendEntry(
  text: string,
  container: JsonNode,
  entry: string,
  style: JsonStyle,
  depth: number,
): string {
  const last = lastChild(container);
  const gap = style.indent === null ? '' : style.newline + style.indent.repeat(depth + 1);
  if (last !== null) return `${text.slice(0, last)},${gap}${entry}${text.slice(last)}`;
  const closing = style.indent === null ? '' : style.newline + style.indent.repeat(depth);
  return `${text.slice(0, container.start + 1)}${gap}${entry}${closing}${text.slice(container.end - 1)}`;
}

/** Takes the entry with this index out of an object or list, with its comma and the space before it. */
export function removeEntry(text: string, container: JsonNode, index: number): string {
  const places = childPlaces(container);
  const [one, before, after] = [places[index], places[index - 1], places[index + 1]];
  if (one === undefined) throw new RangeError('there is no such entry');
  if (before !== undefined) return text.slice(0, before.end) + text.slice(one.end);
  if (after !== undefined) return text.slice(0, one.start) + text.slice(after.start);
  return text.slice(0, container.start + 1) + text.slice(container.end - 1);
}

function childPlaces(node: JsonNode): readonly { readonly start: number; readonly end: number }[] {
  if (node.kind === 'object') return node.members.map(({ start, node: { end } }) => ({ start, end }));
  return node.kind === 'array' ? node.items : [];
}

const lastChild = (node: JsonNode): number | null => childPlaces(node).at(-1)?.end ?? null;
