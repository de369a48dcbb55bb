/**
 * Adds hooks to the text of an agent's settings and takes them out again. Everything else stays byte for byte: the order
 * and spelling of what is there, its layout, and the hooks of others.
 */
import { KontextError } from '@kontext/errors';
import { isObject } from '../agents/merge-settings.ts';
import {
  appendEntry,
  detectStyle,
  type JsonMember,
  type JsonNode,
  type JsonStyle,
  parsePlaces,
  printJson,
  removeEntry,
} from './json-text.ts';

/** Hooks by the agent's name of the event: what stands in the list of a group's `hooks`. */
export type HookEntries = Readonly<Record<string, readonly unknown[]>>;

/** Whether an entry is one that `kontext setup` wrote. */
export type IsOwned = (entry: unknown) => boolean;

/**
 * Puts our hooks in, one group per event behind those of others, and takes out what an earlier setup wrote differently.
 *
 * @param text Of the settings; empty where there is no file.
 * @returns The same text when they are all there already.
 * @throws KontextError `KX_AGENT_SETTINGS_INVALID` when it is no JSON, or its hooks are no lists.
 */
export function addHooks(text: string, entries: HookEntries, isOwned: IsOwned): string {
  if (hasExactly(text, entries, isOwned)) return text;
  let next = removeHooks(text, isOwned);
  if (next.trim() === '') next = '{}\n';
  const style = detectStyle(next);
  for (const [event, hooks] of Object.entries(entries)) {
    for (const hook of hooks) next = addGroup(next, event, { hooks: [hook] }, style);
  }
  return next;
}

/**
 * Takes our hooks out, and the groups, lists and the object that hold nothing else.
 *
 * @throws KontextError as {@link addHooks}.
 */
export function removeHooks(text: string, isOwned: IsOwned): string {
  let next = text;
  for (;;) {
    const cut = removeOne(next, isOwned);
    if (cut === null) return next;
    next = cut;
  }
}

/** The hooks of ours that a text holds, by event; what is no list counts for nothing. */
export function ownedHooks(text: string, isOwned: IsOwned): HookEntries {
  const found: Record<string, unknown[]> = {};
  for (const { event, node } of listHooks(text)) {
    if (isOwned(node.value)) found[event] = [...(found[event] ?? []), node.value];
  }
  return found;
}

const hasExactly = (text: string, entries: HookEntries, isOwned: IsOwned): boolean =>
  JSON.stringify(sorted(ownedHooks(text, isOwned))) === JSON.stringify(sorted(entries));

const sorted = (entries: HookEntries) => Object.entries(entries).sort(([a], [b]) => (a < b ? -1 : 1));

function addGroup(text: string, event: string, group: object, style: JsonStyle): string {
  const { root, hooks, events } = readSettings(text);
  const member = (key: string, value: unknown, depth: number): string =>
    `${JSON.stringify(key)}:${style.indent === null ? '' : ' '}${printJson(value, style, depth)}`;
  if (hooks === null) return appendEntry(text, root, member('hooks', { [event]: [group] }, 1), style, 0);
  const groups = events.find(({ key }) => key === event);
  if (groups === undefined) return appendEntry(text, hooks, member(event, [group], 2), style, 1);
  return appendEntry(text, groups.node, printJson(group, style, 3), style, 2);
}

interface FoundHook {
  readonly event: string;
  readonly node: JsonNode;
  /** From the list the hook stands in outwards: where to cut when what is in it becomes empty. */
  readonly path: readonly { readonly container: JsonNode; readonly index: number }[];
}

/** Cuts one hook of ours, at the outermost place that holds nothing but it. */
function removeOne(text: string, isOwned: IsOwned): string | null {
  const hook = listHooks(text).find(({ node }) => isOwned(node.value));
  if (hook === undefined) return null;
  let [cut, ...outer] = hook.path;
  for (const step of outer) {
    if (cut === undefined || sizeOf(cut.container) > 1) break;
    cut = step;
  }
  return cut === undefined ? null : removeEntry(text, cut.container, cut.index);
}

const sizeOf = (node: JsonNode): number =>
  node.kind === 'object' ? node.members.length : node.kind === 'array' ? node.items.length : 0;

function listHooks(text: string): FoundHook[] {
  const { root, hooks, events } = readSettings(text);
  if (hooks === null || root.kind !== 'object') return [];
  const hooksAt = root.members.findIndex(({ node }) => node === hooks);
  return events.flatMap(({ key, node: groups }, eventAt) =>
    (groups.kind === 'array' ? groups.items : []).flatMap((group, groupAt) => {
      if (group.kind !== 'object') return [];
      const list = group.members.find(({ key: name }) => name === 'hooks')?.node;
      if (list?.kind !== 'array') return [];
      return list.items.map((node, index) => ({
        event: key,
        node,
        path: [
          { container: list, index },
          // A group without hooks would be refused, and the whole file with it: it goes as a whole.
          { container: groups, index: groupAt },
          { container: hooks, index: eventAt },
          { container: root, index: hooksAt },
        ],
      }));
    }),
  );
}

interface ReadSettings {
  readonly root: JsonNode;
  readonly hooks: JsonNode | null;
  readonly events: readonly JsonMember[];
}

/** Of members with one name the last holds, as for the agent. */
function readSettings(text: string): ReadSettings {
  let root: JsonNode;
  try {
    root = parsePlaces(text.trim() === '' ? '{}' : text);
  } catch (cause) {
    throw invalid('it is not JSON', cause);
  }
  if (root.kind !== 'object') throw invalid('it is not a JSON object');
  const hooks = root.members.filter(({ key }) => key === 'hooks').at(-1)?.node ?? null;
  if (hooks !== null && hooks.kind !== 'object') throw invalid('"hooks" is not an object of lists');
  const events = hooks?.kind === 'object' ? hooks.members : [];
  if (!events.every(({ node }) => Array.isArray(node.value))) {
    throw invalid('"hooks" is not an object of lists');
  }
  const { env } = root.value as Readonly<Record<string, unknown>>;
  if (env !== undefined && !isObject(env)) throw invalid('"env" is not an object');
  return { root, hooks, events };
}

const invalid = (why: string, cause?: unknown): KontextError =>
  new KontextError('KX_AGENT_SETTINGS_INVALID', "the agent's settings cannot be changed", {
    why,
    hint: 'mend the file; nothing was changed',
    cause,
  });
