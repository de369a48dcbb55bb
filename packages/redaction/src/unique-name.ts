/** Numbers names that became equal, so that no value is lost. */
export function uniqueName(name: string, counts: Map<string, number>): string {
  let unique = name;
  for (let count = counts.get(name) ?? 0; counts.has(unique); ) {
    count += 1;
    counts.set(name, count);
    unique = `${name} ${count}`;
  }
  counts.set(unique, 1);
  return unique;
}
