/**
 * Proofs over the tree of `merkle-tree.ts`: that a leaf is in it (RFC 6962 §2.1.1), and that a longer tree begins with all of a
 * shorter one (§2.1.2). Making one needs complete nodes; checking one (RFC 9162 §2.1.3.2, §2.1.4.2) needs nothing but its hashes.
 */
import { sameBytes } from '../hashes.ts';
import { type Frontier, frontierPlaces, hashNode, type NodePlace, rootOf } from './merkle-tree.ts';

/** Takes complete nodes from where they are kept; they must all be there. */
export type ReadNodes = (places: readonly NodePlace[]) => Promise<readonly Uint8Array[]>;

/** A run of leaves, `from` inclusive, `to` exclusive. */
interface Range {
  readonly from: number;
  readonly to: number;
}

/**
 * Proof that the leaf `index` is in the tree of `size` leaves, from the leaf upwards.
 *
 * @throws RangeError when there is no such leaf.
 */
export async function proveInclusion(index: number, size: number, read: ReadNodes): Promise<Uint8Array[]> {
  if (!isCount(index) || !isCount(size) || index >= size) throw new RangeError('there is no such leaf');
  return readRanges(inclusionRanges(index, { from: 0, to: size }), read);
}

/**
 * Proof that the tree of `size` leaves begins with the one of `oldSize`. Empty when the two are the same, or the old one is.
 *
 * @throws RangeError when the old one is longer.
 */
export async function proveConsistency(
  oldSize: number,
  size: number,
  read: ReadNodes,
): Promise<Uint8Array[]> {
  if (!isCount(oldSize) || !isCount(size) || oldSize > size) throw new RangeError('the old tree is longer');
  if (oldSize === 0 || oldSize === size) return [];
  return readRanges(consistencyRanges(oldSize, { from: 0, to: size }, true), read);
}

/** Reads the frontier of a tree that is kept as nodes. */
export async function readFrontier(size: number, read: ReadNodes): Promise<Frontier> {
  return { size, hashes: await read(frontierPlaces(size)) };
}

/** RFC 6962 §2.1.1, `PATH(m, D[n])`. */
function inclusionRanges(index: number, range: Range): Range[] {
  const ranges: Range[] = [];
  let { from, to } = range;
  while (to - from > 1) {
    const middle = from + splitOf(to - from);
    if (index < middle) {
      ranges.unshift({ from: middle, to });
      to = middle;
    } else {
      ranges.unshift({ from, to: middle });
      from = middle;
    }
  }
  return ranges;
}

/** RFC 6962 §2.1.2, `SUBPROOF(m, D[n], b)`. */
function consistencyRanges(oldSize: number, range: Range, isWhole: boolean): Range[] {
  const { from, to } = range;
  if (oldSize === to - from) return isWhole ? [] : [range];
  const half = splitOf(to - from);
  const middle = from + half;
  if (oldSize <= half) {
    return [...consistencyRanges(oldSize, { from, to: middle }, isWhole), { from: middle, to }];
  }
  return [...consistencyRanges(oldSize - half, { from: middle, to }, false), { from, to: middle }];
}

/** Largest power of two below `count`. */
function splitOf(count: number): number {
  let split = 1;
  while (split * 2 < count) split *= 2;
  return split;
}

/** Hash of each range, all complete nodes they need read at once. */
async function readRanges(ranges: readonly Range[], read: ReadNodes): Promise<Uint8Array[]> {
  const parts = ranges.map(placesOf);
  const hashes = await read(parts.flat());
  let at = 0;
  return parts.map((places) => {
    const own = hashes.slice(at, at + places.length);
    at += places.length;
    return own.length === 1 && own[0] !== undefined ? own[0] : rootOf({ size: 0, hashes: own });
  });
}

/** A range begins at a multiple of a power of two no smaller than itself, so it is made of nodes as a tree of its own is. */
function placesOf({ from, to }: Range): readonly NodePlace[] {
  return frontierPlaces(to - from).map(({ level, index }) => ({ level, index: index + from / 2 ** level }));
}

/** What an inclusion proof is checked against. */
export interface InclusionClaim {
  /** `hashLeaf` of the leaf; 32 bytes. */
  readonly leaf: Uint8Array;
  readonly index: number;
  readonly size: number;
  readonly root: Uint8Array;
  readonly proof: readonly Uint8Array[];
}

/** Whether the leaf is in the tree with that root (RFC 9162 §2.1.3.2). */
export function verifyInclusion({ leaf, index, size, root, proof }: InclusionClaim): boolean {
  if (!isCount(index) || !isCount(size) || index >= size || !areHashes([leaf, root, ...proof])) return false;
  let place = index;
  let last = size - 1;
  let hash = leaf;
  for (const sibling of proof) {
    if (last === 0) return false;
    if (place % 2 === 1 || place === last) {
      hash = hashNode(sibling, hash);
      while (place % 2 === 0 && place !== 0) [place, last] = [half(place), half(last)];
    } else {
      hash = hashNode(hash, sibling);
    }
    [place, last] = [half(place), half(last)];
  }
  return last === 0 && sameBytes(hash, root);
}

/** What a consistency proof is checked against. */
export interface ConsistencyClaim {
  readonly oldSize: number;
  readonly oldRoot: Uint8Array;
  readonly size: number;
  readonly root: Uint8Array;
  readonly proof: readonly Uint8Array[];
}

/** Whether the longer tree begins with all of the shorter one (RFC 9162 §2.1.4.2). */
export function verifyConsistency({ oldSize, oldRoot, size, root, proof }: ConsistencyClaim): boolean {
  if (!isCount(oldSize) || !isCount(size) || oldSize > size || !areHashes([oldRoot, root, ...proof]))
    return false;
  if (oldSize === size) return proof.length === 0 && sameBytes(oldRoot, root);
  // Every tree begins with the empty one.
  if (oldSize === 0) return proof.length === 0 && sameBytes(oldRoot, rootOf({ size: 0, hashes: [] }));
  let place = oldSize - 1;
  let last = size - 1;
  while (place % 2 === 1) [place, last] = [half(place), half(last)];
  const hashes = place === 0 ? [oldRoot, ...proof] : proof;
  const [first, ...rest] = hashes;
  if (first === undefined) return false;
  let [before, now] = [first, first];
  for (const sibling of rest) {
    if (last === 0) return false;
    if (place % 2 === 1 || place === last) {
      before = hashNode(sibling, before);
      now = hashNode(sibling, now);
      while (place % 2 === 0 && place !== 0) [place, last] = [half(place), half(last)];
    } else {
      now = hashNode(now, sibling);
    }
    [place, last] = [half(place), half(last)];
  }
  return last === 0 && sameBytes(before, oldRoot) && sameBytes(now, root);
}

const half = (value: number): number => Math.floor(value / 2);
/** Not `>>`: sizes may be beyond 32 bits. */
const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;
const areHashes = (hashes: readonly Uint8Array[]): boolean => hashes.every(({ length }) => length === 32);
