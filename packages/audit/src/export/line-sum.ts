import { createHash } from 'node:crypto';

/** SHA-256 of lines, each with a line feed, as UTF-8. */
export interface LineSum {
  add(line: string): void;
  /** Ends it. @returns 32 bytes. */
  digest(): Buffer;
}

const deskBytes = 262_144;

/** Creates the sum of no lines. It hashes many at once, because a call per line costs about as much as the hashing. */
export function createLineSum(): LineSum {
  const hash = createHash('sha256');
  const desk = Buffer.allocUnsafe(deskBytes);
  let used = 0;
  const flush = (): void => {
    hash.update(desk.subarray(0, used));
    used = 0;
  };
  return {
    add(line) {
      // No more bytes of UTF-8 than three per code unit, and the line feed.
      const most = line.length * 3 + 1;
      if (used + most > deskBytes) flush();
      if (most > deskBytes) {
        hash.update(line).update('\n');
        return;
      }
      used += desk.write(line, used);
      used = desk.writeUInt8(10, used);
    },
    digest() {
      flush();
      return hash.digest();
    },
  };
}
