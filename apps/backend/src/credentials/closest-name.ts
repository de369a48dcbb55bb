/**
 * The name that was probably meant: at most two edits away (one for short names), or the only one that begins with what
 * was written.
 *
 * @returns Null when nothing comes close.
 */
export function closestName(written: string, names: readonly string[]): string | null {
  const allowed = written.length <= 4 ? 1 : 2;
  const ranked = names
    .map((name) => ({ name, distance: editDistance(written, name) }))
    .filter(({ distance }) => distance <= allowed)
    .sort((a, b) => a.distance - b.distance);
  if (ranked[0] !== undefined) return ranked[0].name;
  const longer = names.filter((name) => written.length >= 3 && name.startsWith(written));
  return longer.length === 1 ? (longer[0] ?? null) : null;
}

/** Levenshtein distance; names have at most 63 characters. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
