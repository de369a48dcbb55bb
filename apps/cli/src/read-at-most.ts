import { closeSync, openSync, readSync } from 'node:fs';

/**
 * Reads the beginning of a file, so that one that never ends, such as a link of a cloned repository to a device,
 * cannot fill the memory.
 *
 * @param maxBytes Most bytes to return; ask for one more than is allowed to see that there are too many.
 * @throws Error of the file system.
 */
export function readAtMost(path: string, maxBytes: number): Buffer {
  const descriptor = openSync(path, 'r');
  try {
    const pieces: Buffer[] = [];
    for (let left = maxBytes; left > 0; ) {
      const piece = Buffer.alloc(Math.min(left, 65_536));
      const count = readSync(descriptor, piece, 0, piece.length, null);
      if (count === 0) break;
      pieces.push(piece.subarray(0, count));
      left -= count;
    }
    return Buffer.concat(pieces);
  } finally {
    closeSync(descriptor);
  }
}
