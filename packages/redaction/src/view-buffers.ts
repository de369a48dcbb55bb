import { codeAt } from './characters.ts';

/** Where the views of one text are written. */
interface ViewBuffers {
  readonly plain: Uint16Array;
  /** The bytes of `plain`. */
  readonly bytes: Buffer;
  readonly resolved: Uint16Array;
  readonly squeezed: Uint16Array;
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

/** The code units of a text, written where its plain view is. Holds until the next call. */
export function writeCodes(text: string): Uint16Array {
  const { plain, bytes } = buffersFor(text.length);
  if (text.length < MIN_COPIED || !isLittleEndian || text.includes('\uffff')) {
    for (let i = 0; i < text.length; i += 1) plain[i] = codeAt(text, i);
  } else bytes.write(text, 'utf16le');
  return plain.subarray(0, text.length);
}

/** Shortest text that is copied faster as a whole than one by one. */
const MIN_COPIED = 64;

/** Whether an array of 16 bits lies in memory as UTF-16LE does. */
const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

function makeBuffers(length: number): ViewBuffers {
  const plain = new Uint16Array(length);
  return {
    plain,
    bytes: Buffer.from(plain.buffer),
    resolved: new Uint16Array(length),
    squeezed: new Uint16Array(length),
    mask: new Uint8Array(length),
  };
}
