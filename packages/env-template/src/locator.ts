/** Line and column, both from 1; columns count UTF-16 code units. */
export interface Location {
  readonly line: number;
  readonly column: number;
}

/**
 * Makes a function from offset to location.
 *
 * @param text Text with `\n` line ends only; read once, so that looking up costs a binary search.
 */
export function createLocator(text: string): (offset: number) => Location {
  const lineStarts = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) lineStarts.push(at + 1);
  return (offset) => {
    let low = 0;
    let high = lineStarts.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if ((lineStarts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return { line: low + 1, column: offset - (lineStarts[low] ?? 0) + 1 };
  };
}
