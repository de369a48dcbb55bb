/** Reading answers of providers, which may hold anything. */

/** A JSON object; null for every other text. */
export function parseObject(body: Buffer): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

/** Whether a value is a JSON object. */
export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The member at a path of names with dots between them; undefined when there is none. */
export function memberAt(object: unknown, path: string): unknown {
  let value = object;
  for (const name of path.split('.')) {
    if (!isObject(value) || !Object.hasOwn(value, name)) return undefined;
    value = value[name];
  }
  return value;
}

/**
 * One text of the members at several paths with slashes between them, joined the same way.
 *
 * @returns Null when one of them is missing, is neither text nor number, or could not be stored and shown.
 */
export function textAt(object: unknown, paths: string): string | null {
  if (paths === '') return null;
  const parts = paths.split('/').map((path) => memberAt(object, path));
  const texts = parts.filter((part) => typeof part === 'string' || typeof part === 'number').map(String);
  const text = texts.join('/');
  return texts.length === parts.length && /^[^\p{C}]{1,500}$/u.test(text) ? text : null;
}

/** As many scopes as a provider can be added with, each as RFC 6749 §3.3 says; a database cannot store every text. */
const maxScopes = 100;
const scopeToken = /^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/;

/** Spaces by the standard, commas by habit. What is no scope is left out: it must not cost the tokens beside it. */
export const splitScopes = (scope: string): string[] =>
  scope
    .split(/[ ,]+/)
    .filter((part) => scopeToken.test(part))
    .slice(0, maxScopes);

/** Scopes in either spelling, a list or one text; null for anything else. */
export function scopesOf(value: unknown): readonly string[] | null {
  if (typeof value === 'string') return splitScopes(value);
  if (!Array.isArray(value) || !value.every((one) => typeof one === 'string')) return null;
  return splitScopes(value.join(' '));
}

/**
 * The name of an error as it may be shown and recorded (RFC 6749 §5.2): a word. A sentence may quote what was sent.
 *
 * @param sent What was sent and is nobody's business; an error that repeats one of it has no name. Shorter than 8 characters it
 *   is no secret.
 */
export const errorName = (text: string, sent: readonly string[] = []): string =>
  /^[A-Za-z][\w.:-]{0,63}$/.test(text) && !sent.some((value) => value.length >= 8 && text.includes(value))
    ? text
    : 'an error without a name';
