/** Where the views of one text are written. */
interface ViewBuffers {
  readonly plain: Int32Array;
  readonly resolved: Int32Array;
  readonly squeezed: Int32Array;
  readonly mask: Uint8Array;
}

/** Longest text whose buffers are kept; a stored payload with its margin is shorter. */
const MAX_KEPT = 131_072;

let kept = makeBuffers(4096);

/**
 * Buffers for a text and its views, of at least its length; what stood in them before is still there.
 *
 * One set serves every text: making new ones costs more than searching a short text. Nothing here waits, and a text is
 * done with before the next one is looked at.
 */
export function buffersFor(length: number): ViewBuffers {
  if (length <= kept.mask.length) return kept;
  const made = makeBuffers(2 ** Math.ceil(Math.log2(length)));
  if (made.mask.length <= MAX_KEPT) kept = made;
  return made;
}

/** One byte per character of a text, all 0. Holds until the next call. */
export function emptyMask(length: number): Uint8Array {
  return buffersFor(length).mask.subarray(0, length).fill(0);
}

function makeBuffers(length: number): ViewBuffers {
  return {
    plain: new Int32Array(length),
    resolved: new Int32Array(length),
    squeezed: new Int32Array(length),
    mask: new Uint8Array(length),
  };
}
