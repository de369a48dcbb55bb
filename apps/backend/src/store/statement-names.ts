/** Uses after which a statement gets a name: one that came this often will come again. */
const namedAfter = 5;
/** Names one process gives; every connection keeps the plan of each in the server's memory. */
const maxNames = 100;
/** Texts whose uses are counted; searches write a new one every time. */
const maxCounted = 1_000;
/** Longer texts are lists of something, and never the same twice. */
const maxLength = 8_000;

/**
 * Names for statements that come again and again: Postgres parses and plans what has a name once a connection.
 *
 * @returns The name for a text, always the same one; undefined for a text that did not come often enough, or when all names
 *   are given.
 */
export function createStatementNames(): (text: string) => string | undefined {
  const names = new Map<string, string>();
  const uses = new Map<string, number>();
  return (text) => {
    const name = names.get(text);
    if (name !== undefined || names.size >= maxNames || text.length > maxLength) return name;
    const count = (uses.get(text) ?? 0) + 1;
    if (count < namedAfter) {
      if (uses.size >= maxCounted) uses.clear();
      uses.set(text, count);
      return undefined;
    }
    uses.delete(text);
    names.set(text, `kontext_${names.size + 1}`);
    return names.get(text);
  };
}
