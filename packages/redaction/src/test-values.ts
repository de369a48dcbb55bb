/**
 * Writes the examples of `test-secrets.ts` out. In them `§h32§` stands for 32 random characters of a kind, `{{…}}` for the
 * base64 of a text, and `«…»` is what must not be left of it. No value is anybody's.
 */

const lower = 'abcdefghijklmnopqrstuvwxyz';
const upper = lower.toUpperCase();
const digits = '0123456789';
const kinds: Readonly<Record<string, string>> = {
  h: '0123456789abcdef',
  d: digits,
  l: lower + digits,
  u: upper + digits,
  a: lower + upper + digits,
  w: `${lower + upper + digits}-_`,
  b: `${lower + upper + digits}+/`,
};

/** A generator of Lehmer's kind: the same numbers in every run. */
function createNext(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % limit;
  };
}

/** @returns What writes one random value: `i` is a UUID, and no other one begins or ends with a sign. */
function createWriter(seed: number): (kind: string, length: number) => string {
  const next = createNext(seed);
  const write = (kind: string, length: number): string => {
    if (kind === 'i') return [8, 4, 4, 4, 12].map((part) => write('h', part)).join('-');
    const chars = kinds[kind] as string;
    const value = Array.from({ length }, () => chars[next(chars.length)]).join('');
    return kind === 'w' || kind === 'b' ? `a7${value.slice(2, -2)}Z9` : value;
  };
  return write;
}

/** A text, and the secrets in it. */
export interface WrittenExample {
  readonly text: string;
  readonly secrets: readonly string[];
}

/** Writes one example out. @param seed Other values for another one. */
export function writeExample(template: string, seed: number): WrittenExample {
  const write = createWriter(seed);
  const marked = template
    .replace(/§([a-z])(\d+)§/g, (_all, kind: string, length: string) => write(kind, Number(length)))
    .replace(/\{\{(.*?)\}\}/gs, (_all, inner: string) => Buffer.from(inner).toString('base64'));
  const secrets = [...marked.matchAll(/«(.*?)»/gs)].map((found) => found[1] as string);
  return { text: marked.replace(/[«»]/g, ''), secrets };
}
