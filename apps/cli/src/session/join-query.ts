/**
 * The query of a command's arguments. One is taken as it is; of several, the shell has eaten the quotes, so what holds white space
 * gets them again: `actor:alice "rm -rf"`.
 */
export function joinQuery(words: readonly string[]): string {
  const [only, ...more] = words;
  if (only !== undefined && more.length === 0) return only;
  return words.map((word) => (/\s/.test(word) && !word.includes('"') ? quoteValue(word) : word)).join(' ');
}

/** Quotes what stands behind the sign and the field. */
function quoteValue(word: string): string {
  const start = /^-?(?:[A-Za-z_]+:)?/.exec(word)?.[0] ?? '';
  return `${start}"${word.slice(start.length).replace(/\\/g, '\\\\')}"`;
}
