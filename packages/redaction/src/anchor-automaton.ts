/**
 * Finds every occurrence of many short words in one pass. Most places of a text begin no word: three characters are asked
 * for in a table, and only where some word begins with them is a trie walked from there, at most as far as its
 * longest word.
 */

const SYMBOLS = 64;
const OTHER = 0;
/** Characters asked for first; a shorter word is entered with everything that may follow it. */
const HEAD = 3;
/** What is asked of a character first: its lowest five bits, the same for both cases of a letter. Few others share them. */
const LOW_BITS = 5;
const LOW = 2 ** LOW_BITS - 1;
const HEADS = 2 ** (LOW_BITS * HEAD);

/** Letters without case, digits and the punctuation of anchors; everything else is one symbol no anchor holds. */
const symbolOf = new Uint8Array(128);
for (const [index, char] of [..."abcdefghijklmnopqrstuvwxyz0123456789_-./:<>+= '@~"].entries()) {
  symbolOf[char.charCodeAt(0)] = index + 1;
  symbolOf[char.toUpperCase().charCodeAt(0)] = index + 1;
}

/** Words of ASCII to look for without regard to case. */
export class AnchorAutomaton {
  /** The state after each state and symbol; 0 where no word goes on. */
  readonly #next: Uint16Array;
  readonly #ending: readonly (readonly number[])[];
  /** 1 for each head; a byte is asked for faster than a bit, and few of them are ever touched. */
  readonly #heads = new Uint8Array(HEADS);

  /** @param anchors Each at least one character of the symbols above; may repeat. */
  constructor(anchors: readonly string[]) {
    const trie = buildTrie(anchors);
    this.#next = trie.next;
    this.#ending = trie.ending;
    for (const anchor of anchors) this.#addHeads(0, anchor, 0);
  }

  /**
   * Reports the anchors that begin in a stretch of text, from left to right, shorter ones first.
   *
   * @param onAnchor Gets the place of the anchor in the list and its first character.
   */
  find(
    codes: Uint16Array,
    from: number,
    to: number,
    onAnchor: (anchor: number, start: number) => void,
  ): void {
    // The last two places have no head of their own in the text.
    const inside = Math.min(to, codes.length - HEAD + 1);
    const heads = this.#heads;
    for (
      let at = nextHead(heads, codes, from, inside);
      at < inside;
      at = nextHead(heads, codes, at + 1, inside)
    )
      this.#walk(codes, at, onAnchor);
    for (let at = Math.max(from, inside); at < to; at += 1) this.#walk(codes, at, onAnchor);
  }

  #walk(codes: Uint16Array, start: number, onAnchor: (anchor: number, start: number) => void): void {
    for (let state = 0, at = start; ; at += 1) {
      state = this.#next[state * SYMBOLS + symbolAt(codes, at)] as number;
      if (state === 0) return;
      const found = this.#ending[state] as readonly number[];
      for (let k = 0; k < found.length; k += 1) onAnchor(found[k] as number, start);
    }
  }

  #addHeads(head: number, anchor: string, at: number): void {
    if (at === HEAD) {
      this.#heads[head] = 1;
    } else if (at < anchor.length) {
      this.#addHeads((head << LOW_BITS) | (anchor.charCodeAt(at) & LOW), anchor, at + 1);
    } else {
      for (let low = 0; low <= LOW; low += 1) this.#addHeads((head << LOW_BITS) | low, anchor, at + 1);
    }
  }
}

/**
 * The next place where a head stands; `to` when there is none. Every character of a text passes here: four at once, and the
 * constants as numbers, because a bundler makes variables of those of a module.
 */
function nextHead(heads: Uint8Array, codes: Uint16Array, from: number, to: number): number {
  let head = (((codes[from] as number) & 31) << 5) | ((codes[from + 1] as number) & 31);
  let at = from;
  for (; at + 3 < to; at += 4) {
    const first = ((head << 5) | ((codes[at + 2] as number) & 31)) & 0x7fff;
    const second = ((first << 5) | ((codes[at + 3] as number) & 31)) & 0x7fff;
    const third = ((second << 5) | ((codes[at + 4] as number) & 31)) & 0x7fff;
    head = ((third << 5) | ((codes[at + 5] as number) & 31)) & 0x7fff;
    const some =
      (heads[first] as number) |
      (heads[second] as number) |
      (heads[third] as number) |
      (heads[head] as number);
    if (some === 0) continue;
    if (heads[first] !== 0) return at;
    if (heads[second] !== 0) return at + 1;
    return heads[third] === 0 ? at + 3 : at + 2;
  }
  for (; at < to; at += 1) {
    head = ((head << 5) | ((codes[at + 2] as number) & 31)) & 0x7fff;
    if (heads[head] !== 0) return at;
  }
  return to;
}

function buildTrie(anchors: readonly string[]): { next: Uint16Array; ending: number[][] } {
  const states = 1 + anchors.reduce((sum, anchor) => sum + anchor.length, 0);
  const next = new Uint16Array(states * SYMBOLS);
  const ending: number[][] = [[]];
  for (const [index, anchor] of anchors.entries()) {
    let state = 0;
    for (let i = 0; i < anchor.length; i += 1) {
      const slot = state * SYMBOLS + anchorSymbol(anchor, i);
      if (next[slot] === 0) {
        next[slot] = ending.length;
        ending.push([]);
      }
      state = next[slot] as number;
    }
    (ending[state] as number[]).push(index);
  }
  return { next, ending };
}

/** The symbol at an index of a text; outside of it one that no anchor holds. */
function symbolAt(codes: Uint16Array, at: number): number {
  const code = at < codes.length ? (codes[at] as number) : 128;
  return code < 128 ? (symbolOf[code] as number) : OTHER;
}

function anchorSymbol(anchor: string, at: number): number {
  const symbol = symbolOf[anchor.charCodeAt(at)];
  if (!symbol) throw new RangeError(`an anchor holds a character outside the alphabet: ${anchor}`);
  return symbol;
}
