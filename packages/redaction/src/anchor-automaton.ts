/**
 * Finds every occurrence of many short words in one pass (Aho and Corasick 1975): one table look-up per character,
 * and no step back, whatever the text.
 */

const SYMBOLS = 64;
const OTHER = 0;

/** Letters without case, digits and the punctuation of anchors; everything else is one symbol no anchor holds. */
const symbolOf = new Uint8Array(128);
for (const [index, char] of [..."abcdefghijklmnopqrstuvwxyz0123456789_-./:<>+= '"].entries()) {
  symbolOf[char.charCodeAt(0)] = index + 1;
  symbolOf[char.toUpperCase().charCodeAt(0)] = index + 1;
}

/** Words of ASCII to look for without regard to case. */
export class AnchorAutomaton {
  readonly #next: Int32Array;
  readonly #ending: readonly (readonly number[])[];
  readonly #isEnd: Uint8Array;

  /** @param anchors Each at least one character of the symbols above; may repeat. */
  constructor(anchors: readonly string[]) {
    const trie = buildTrie(anchors);
    this.#next = trie.next;
    this.#ending = trie.ending;
    this.#isEnd = Uint8Array.from(trie.ending, (found) => (found.length > 0 ? 1 : 0));
  }

  /** Whether a text holds any anchor; stops at the first. */
  isIn(text: string): boolean {
    let current = 0;
    for (let i = 0; i < text.length; i += 1) {
      const code = text.charCodeAt(i);
      current = this.#next[current * SYMBOLS + (code < 128 ? (symbolOf[code] as number) : OTHER)] as number;
      if ((this.#isEnd[current] as number) === 1) return true;
    }
    return false;
  }

  /**
   * Reports the anchors that end in a stretch of text, from left to right.
   *
   * @param state What the call for the stretch before gave back; 0 for the first.
   * @param onAnchor Gets the place of the anchor in the list and one past its last character.
   * @returns The state to go on with.
   */
  find(
    codes: Int32Array,
    from: number,
    to: number,
    state: number,
    onAnchor: (anchor: number, end: number) => void,
  ): number {
    const next = this.#next;
    const ending = this.#ending;
    let current = state;
    for (let i = from; i < to; i += 1) {
      const code = codes[i] as number;
      const symbol = code >= 0 && code < 128 ? (symbolOf[code] as number) : OTHER;
      current = next[current * SYMBOLS + symbol] as number;
      const found = ending[current] as readonly number[];
      for (let k = 0; k < found.length; k += 1) onAnchor(found[k] as number, i + 1);
    }
    return current;
  }
}

function buildTrie(anchors: readonly string[]): { next: Int32Array; ending: number[][] } {
  const states = 1 + anchors.reduce((sum, anchor) => sum + anchor.length, 0);
  const next = new Int32Array(states * SYMBOLS).fill(-1);
  const ending: number[][] = [[]];
  for (const [index, anchor] of anchors.entries()) {
    let state = 0;
    for (let i = 0; i < anchor.length; i += 1) {
      const slot = state * SYMBOLS + symbolAt(anchor, i);
      if (next[slot] === -1) {
        next[slot] = ending.length;
        ending.push([]);
      }
      state = next[slot] as number;
    }
    (ending[state] as number[]).push(index);
  }
  linkFailures(next, ending);
  return { next, ending };
}

function symbolAt(anchor: string, at: number): number {
  const symbol = symbolOf[anchor.charCodeAt(at)];
  if (!symbol) throw new RangeError(`an anchor holds a character outside the alphabet: ${anchor}`);
  return symbol;
}

/** Breadth first: a state without a step takes the step of its longest proper suffix. */
function linkFailures(next: Int32Array, ending: number[][]): void {
  const failure = new Int32Array(ending.length);
  const queue: number[] = [0];
  for (let head = 0; head < queue.length; head += 1) {
    const state = queue[head] as number;
    for (let symbol = 0; symbol < SYMBOLS; symbol += 1) {
      const slot = state * SYMBOLS + symbol;
      const suffixStep = state === 0 ? 0 : (next[(failure[state] as number) * SYMBOLS + symbol] as number);
      const child = next[slot] as number;
      if (child === -1) {
        next[slot] = suffixStep;
        continue;
      }
      failure[child] = suffixStep;
      (ending[child] as number[]).push(...(ending[suffixStep] as number[]));
      queue.push(child);
    }
  }
}
