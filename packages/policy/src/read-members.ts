/** Reads members of a JSON document strictly; `place` is where in the document, for the message. */

/** Ends with what is wrong at a place. */
export type Fail = (place: string, why: string) => never;

/** Members of an object, not looked at yet. */
export type Members = Readonly<Record<string, unknown>>;

/** Reads an object. */
export function record(value: unknown, place: string, fail: Fail): Members {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return fail(place, 'it must be an object');
  return value as Members;
}

/** Fails for a member that means nothing: misspelt, it would be an example that tests nothing. */
export function onlyKnown(value: Members, known: readonly string[], place: string, fail: Fail): void {
  const odd = Object.keys(value).find((name) => !known.includes(name));
  if (odd !== undefined) fail(place, `it has ${JSON.stringify(odd)}; known are ${known.join(', ')}`);
}

/** Reads a text that is not empty. */
export function string(value: unknown, place: string, fail: Fail): string {
  return typeof value === 'string' && value !== '' ? value : fail(place, 'it must be a text');
}

/** Reads a list of texts that are not empty. */
export function strings(value: unknown, place: string, fail: Fail): readonly string[] {
  if (!Array.isArray(value)) return fail(place, 'it must be a list of texts');
  return value.map((one) => string(one, place, fail));
}

/** Reads one of a few texts. */
export function oneOf<T extends string>(value: unknown, known: readonly T[], place: string, fail: Fail): T {
  return known.find((one) => one === value) ?? fail(place, `it must be one of ${known.join(', ')}`);
}

/** Reads an instant with its zone, so that it means the same on every machine, in a year that Cedar's datetime can spell. */
export function instant(value: unknown, place: string, fail: Fail): string {
  const text = string(value, place, fail);
  const isInstant =
    /^\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)$/.test(text) && !Number.isNaN(Date.parse(text));
  return isInstant ? text : fail(place, 'it must be an instant such as 2026-03-01T22:30:00Z');
}
