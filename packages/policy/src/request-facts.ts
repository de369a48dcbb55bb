import type { CedarValueJson, EntityUidJson, StatefulAuthorizationCall } from '@cedar-policy/cedar-wasm/web';

/** An entity. `ancestors` (keys, its own among them) and `attrs` are null where they are not known. */
export interface KnownEntity {
  readonly type: string;
  readonly key: string;
  readonly ancestors: ReadonlySet<string> | null;
  readonly attrs: KnownRecord | null;
}

/** Attributes by name; one that is there may still be unknown. */
export type KnownRecord = ReadonlyMap<string, Known>;

/** A value; a set is the set of its members' keys, and undefined may be anything, an error too. */
export type Known = boolean | string | number | KnownEntity | ReadonlySet<string> | undefined;

/** What is known of a request. */
export interface RequestFacts {
  readonly principal: KnownEntity;
  readonly action: KnownEntity;
  readonly resource: KnownEntity;
  readonly context: KnownRecord;
}

type Request = Pick<StatefulAuthorizationCall, 'principal' | 'action' | 'resource' | 'context' | 'entities'>;

/**
 * Makes a reader of requests; what several of them share, the context and the user, is read once.
 *
 * It gives null for a request that Cedar might refuse as a whole, which is Cedar's to say.
 */
export function createFactsReader(): (request: Request) => RequestFacts | null {
  const records = new WeakMap<object, KnownRecord>();
  const recordOf = (record: Readonly<Record<string, CedarValueJson>>): KnownRecord => {
    const read =
      records.get(record) ?? new Map(Object.entries(record).map(([name, it]) => [name, known(it)]));
    records.set(record, read);
    return read;
  };
  return ({ principal, action, resource, context, entities }) => {
    const values = [context, ...entities.map(({ attrs }) => attrs)];
    if (!values.every((record) => isSound(record, recordOf(record)))) return null;
    const keys = entities.map(({ uid }) => keyOfUid(uid));
    const find = (uid: EntityUidJson): KnownEntity => {
      const { type, id } = plain(uid);
      const key = entityKey(type, id);
      const own = entities[keys.indexOf(key)];
      if (own === undefined) return { type, key, ancestors: null, attrs: null };
      const parents = own.parents.map(keyOfUid);
      // Where a parent has parents of its own the hierarchy goes deeper than is looked at here.
      const ancestors = parents.some((parent) => keys.includes(parent)) ? null : new Set([key, ...parents]);
      return { type, key, ancestors, attrs: recordOf(own.attrs) };
    };
    const done = find(action);
    return {
      principal: find(principal),
      // An action that nothing is told of is in itself, and in nothing else.
      action: { ...done, ancestors: done.ancestors ?? new Set([done.key]) },
      resource: find(resource),
      context: recordOf(context),
    };
  };
}

/** Whether every value is of a form that Cedar is known to take. */
function isSound(record: Readonly<Record<string, CedarValueJson>>, read: KnownRecord): boolean {
  for (const [name, value] of read) if (value === undefined && !isMoment(record[name])) return false;
  return true;
}

/** An instant of the years 0 to 9999. */
function isMoment(value: CedarValueJson | undefined): boolean {
  const moment = typeof value === 'object' && value !== null && '__extn' in value ? value.__extn : null;
  if (typeof moment !== 'object' || moment === null || !('fn' in moment) || !('arg' in moment)) return false;
  return moment.fn === 'datetime' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(String(moment.arg));
}

/** A literal or an attribute, as far as it is known: records, extension values and mixed sets are not. */
export function known(value: CedarValueJson): Known {
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  // Cedar's integers go further than JavaScript's.
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : undefined;
  if (!Array.isArray(value)) return undefined;
  return value.every((member) => typeof member === 'string') ? new Set(value.map(textKey)) : undefined;
}

/** What two values have in common exactly when Cedar calls them equal; null for sets and what is not known. */
export function keyOf(value: Known): string | null {
  switch (typeof value) {
    case 'string':
      return textKey(value);
    case 'boolean':
    case 'number':
      return `${typeof value} ${value}`;
    default:
      return value === undefined || isSet(value) ? null : value.key;
  }
}

/** Whether a value is a set. */
export const isSet = (value: Known): value is ReadonlySet<string> => value instanceof Set;

/** Key of an entity; no type holds a quote. */
export const entityKey = (type: string, id: string): string => `entity ${type}"${id}`;

const textKey = (text: string): string => `"${text}`;

const plain = (uid: EntityUidJson) => ('__entity' in uid ? uid.__entity : uid);

const keyOfUid = (uid: EntityUidJson): string => {
  const { type, id } = plain(uid);
  return entityKey(type, id);
};
