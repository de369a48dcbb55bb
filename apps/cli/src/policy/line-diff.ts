/** Lines beyond which two texts are shown one after the other: the comparison takes the square of them. */
const maxCompared = 2000;

/**
 * Compares two texts line by line, by their longest common subsequence.
 *
 * @returns All lines of both in order, after ` ` when both have it, `-` when only the first, `+` when only the second.
 */
export function diffLines(before: readonly string[], after: readonly string[]): string[] {
  if (before.length > maxCompared || after.length > maxCompared) {
    return [...before.map((line) => `-${line}`), ...after.map((line) => `+${line}`)];
  }
  const width = after.length + 1;
  // Length of the longest common subsequence of what follows each pair of places.
  const common = new Uint16Array((before.length + 1) * width);
  const at = (i: number, j: number): number => common[i * width + j] ?? 0;
  for (let i = before.length - 1; i >= 0; i -= 1) {
    for (let j = after.length - 1; j >= 0; j -= 1) {
      const same = before[i] === after[j];
      common[i * width + j] = same ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const lines: string[] = [];
  let [i, j] = [0, 0];
  while (i < before.length || j < after.length) {
    if (i < before.length && j < after.length && before[i] === after[j]) {
      lines.push(` ${before[i]}`);
      i += 1;
      j += 1;
    } else if (j === after.length || (i < before.length && at(i + 1, j) >= at(i, j + 1))) {
      lines.push(`-${before[i]}`);
      i += 1;
    } else {
      lines.push(`+${after[j]}`);
      j += 1;
    }
  }
  return lines;
}
