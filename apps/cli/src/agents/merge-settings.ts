type JsonObject = Readonly<Record<string, unknown>>;

/** Whether a JSON value is an object and not an array or null. */
export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * Lays one settings object over another, as agents merge their own sources: objects key by key, arrays one after
 * the other, anything else from the upper one.
 */
export function mergeSettings(lower: JsonObject, upper: JsonObject): JsonObject {
  const merged = new Map<string, unknown>(Object.entries(lower));
  for (const [key, value] of Object.entries(upper)) {
    const below = merged.get(key);
    if (isObject(below) && isObject(value)) merged.set(key, mergeSettings(below, value));
    else if (Array.isArray(below) && Array.isArray(value)) merged.set(key, [...below, ...value]);
    else merged.set(key, value);
  }
  // `fromEntries` defines properties, so a key named `__proto__` stays a key.
  return Object.fromEntries(merged);
}
