import type { Entry, PlaceholderRef } from './env-template.ts';

/** A variable that could not be set, and the placeholder that had no value. */
export interface MissingValue {
  readonly name: string;
  readonly placeholder: PlaceholderRef;
}

/** The variables to set, and those left out. */
export interface RenderedEntries {
  readonly variables: Map<string, string>;
  /** One per placeholder without a value, in the order of the entries. Such a variable is not set at all. */
  readonly missing: readonly MissingValue[];
}

/**
 * Joins the parts of each entry, with every placeholder replaced by its value.
 *
 * @param values Placeholder key → credential. Values are inserted as they are: no escapes, no nested placeholders.
 */
export function renderEntries(
  entries: readonly Entry[],
  values: ReadonlyMap<string, string>,
): RenderedEntries {
  const variables = new Map<string, string>();
  const missing: MissingValue[] = [];
  for (const { name, parts } of entries) {
    const lacking = parts.filter(isPlaceholder).filter(({ key }) => !values.has(key));
    missing.push(...lacking.map((placeholder) => ({ name, placeholder })));
    if (lacking.length > 0) continue;
    variables.set(name, parts.map((part) => (isPlaceholder(part) ? values.get(part.key) : part)).join(''));
  }
  return { variables, missing };
}

/**
 * The placeholders of some entries, each key once, at its first place: what one resolve has to ask for.
 */
export function listPlaceholders(entries: readonly Entry[]): PlaceholderRef[] {
  const byKey = new Map<string, PlaceholderRef>();
  for (const placeholder of entries.flatMap(({ parts }) => parts).filter(isPlaceholder)) {
    if (!byKey.has(placeholder.key)) byKey.set(placeholder.key, placeholder);
  }
  return [...byKey.values()];
}

const isPlaceholder = (part: string | PlaceholderRef): part is PlaceholderRef => typeof part !== 'string';
