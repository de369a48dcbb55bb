import { KontextError } from '@kontext/errors';

/** An entry of a provider's settings, and which of its values is meant. */
export interface PickedEntry<T> {
  readonly base: string;
  /** Empty: the default value. */
  readonly field: string;
  readonly entry: T;
}

/**
 * Finds what the part of a placeholder after the `/` means: `prod-readonly`, `prod-readonly/password`, or nothing, which means
 * the only entry, or else the one called `default`.
 *
 * @param fields Fields that exist besides the default one.
 * @throws KontextError `KX_RESOURCE_UNKNOWN`, with the names that would do.
 */
export function pickEntry<T>(
  entries: Readonly<Record<string, T>>,
  resource: string,
  fields: readonly string[],
): PickedEntry<T> {
  const slash = resource.indexOf('/');
  const named = slash < 0 ? resource : resource.slice(0, slash);
  const field = slash < 0 ? '' : resource.slice(slash + 1);
  const names = Object.keys(entries);
  const base = named !== '' ? named : names.length === 1 ? (names[0] ?? '') : 'default';
  const entry = Object.hasOwn(entries, base) ? entries[base] : undefined;
  if (entry === undefined) {
    throw unknown(
      named === '' ? 'the placeholder has to name one' : `there is no ${named.slice(0, 63)}`,
      names,
    );
  }
  if (slash >= 0 && !fields.includes(field)) {
    throw unknown(
      `${base} has no ${field.slice(0, 63)}`,
      fields.map((name) => `${base}/${name}`),
    );
  }
  return { base, field, entry };
}

const unknown = (why: string, names: readonly string[]): KontextError => {
  const shown = names.slice(0, 20).join(', ');
  return new KontextError('KX_RESOURCE_UNKNOWN', `${why}; known: ${shown}`, {
    hint: 'write one of these names after the `/` of the placeholder',
  });
};
