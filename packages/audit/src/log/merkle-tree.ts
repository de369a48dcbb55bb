/**
 * The Merkle tree of RFC 6962 §2.1: what is appended can be proven to be in it, and a later tree to hold an earlier one.
 *
 * - `leaf = SHA-256(0x00 ‖ bytes)`, `node = SHA-256(0x01 ‖ left ‖ right)`, the empty tree is `SHA-256("")`.
 * - A *complete* node (level, index) covers the leaves `index · 2^level` to `(index + 1) · 2^level − 1`, all of which are
 *   there. Complete nodes never change, so they are what is stored; every other hash follows from them.
 */
import { createHash } from 'node:crypto';

/** Where a complete node stands. Level 0 are the leaves. */
export interface NodePlace {
  readonly level: number;
  readonly index: number;
}

/** A complete node. */
export interface TreeNode extends NodePlace {
  /** 32 bytes. */
  readonly hash: Uint8Array;
}

/** A tree by its size and the complete nodes its root is made of, from the left. */
export interface Frontier {
  /** Number of leaves, a safe integer. */
  readonly size: number;
  /** One hash per set bit of {@link Frontier.size}, the highest first. */
  readonly hashes: readonly Uint8Array[];
}

/** The tree without leaves. */
export const emptyFrontier: Frontier = { size: 0, hashes: [] };

/** Hash of a leaf's bytes. */
export const hashLeaf = (bytes: Uint8Array): Buffer =>
  createHash('sha256').update(Uint8Array.of(0)).update(bytes).digest();

/** Hash of the node above two others. */
export const hashNode = (left: Uint8Array, right: Uint8Array): Buffer =>
  createHash('sha256').update(Uint8Array.of(1)).update(left).update(right).digest();

/**
 * Appends leaves.
 *
 * @param leaves {@link hashLeaf} of each, in order.
 * @returns The longer tree, and every complete node that came to be, leaves included.
 */
export function appendLeaves(
  tree: Frontier,
  leaves: readonly Uint8Array[],
): { readonly tree: Frontier; readonly nodes: readonly TreeNode[] } {
  const hashes = [...tree.hashes];
  const nodes: TreeNode[] = [];
  let { size } = tree;
  for (const leaf of leaves) {
    let place: TreeNode = { level: 0, index: size, hash: leaf };
    nodes.push(place);
    // As long as there is a complete sibling to the left, the two make the node above.
    while (place.index % 2 === 1) {
      const left = hashes.pop();
      if (left === undefined) throw new TypeError('the frontier does not fit its size');
      place = { level: place.level + 1, index: (place.index - 1) / 2, hash: hashNode(left, place.hash) };
      nodes.push(place);
    }
    hashes.push(place.hash);
    size += 1;
  }
  return { tree: { size, hashes }, nodes };
}

/** Root hash of a tree (RFC 6962 §2.1). */
export function rootOf({ hashes }: Frontier): Buffer {
  if (hashes.length === 0) return createHash('sha256').digest();
  return Buffer.from(hashes.reduceRight((right, left) => hashNode(left, right)));
}

/** The complete nodes a tree of that many leaves is made of, from the left: the places of {@link Frontier.hashes}. */
export function frontierPlaces(size: number): readonly NodePlace[] {
  const places: NodePlace[] = [];
  let done = 0;
  for (let level = Math.floor(Math.log2(size || 1)); level >= 0; level -= 1) {
    const width = 2 ** level;
    if (size - done < width) continue;
    places.push({ level, index: done / width });
    done += width;
  }
  return places;
}
