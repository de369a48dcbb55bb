import { hashNode, rootOf } from '../log/merkle-tree.ts';

/** Computes the root of a log while its leaves go by. */
export interface RootBuilder {
  /** Leaves so far. */
  readonly size: number;
  /** Adds a complete node; level 0 is a leaf. @returns False when no such node can stand there. */
  add(level: number, hash: Uint8Array): boolean;
  root(): Buffer;
}

/** Creates a builder of the empty log; it keeps a hash per bit of the size. */
export function createRootBuilder(): RootBuilder {
  const hashes: Uint8Array[] = [];
  let size = 0;
  return {
    get size() {
      return size;
    },
    add(level, hash) {
      const width = 2 ** level;
      if (size % width !== 0) return false;
      let index = size / width;
      let node = hash;
      // An odd index means that the complete sibling to the left is the newest hash kept.
      while (index % 2 === 1) {
        node = hashNode(hashes.pop() ?? new Uint8Array(), node);
        index = (index - 1) / 2;
      }
      hashes.push(node);
      size += width;
      return true;
    },
    root: () => rootOf({ size, hashes }),
  };
}
