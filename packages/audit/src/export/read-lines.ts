import { isUtf8 } from 'node:buffer';
import { KontextError } from '@kontext/errors';

/** Longest line of a bundle in bytes: a header and a payload, both escaped as JSON at their worst, fit four times. */
const maxLineBytes = 4 << 20;

/**
 * Cuts bytes into lines, without keeping more than one of them.
 *
 * @param chunks UTF-8 in pieces of any length.
 * @returns Lines without their line feed; empty for one that is no UTF-8, so that nothing can read it: as U+FFFD its bytes would
 * pass for those of a text that holds that character.
 * @throws KontextError `KX_BUNDLE_INVALID` when a line is over 4 MiB, or the file is compressed.
 */
export async function* readBundleLines(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<string> {
  let begun: Uint8Array[] = [];
  let begunBytes = 0;
  let isFirst = true;
  for await (const chunk of chunks) {
    if (isFirst && chunk.length > 1 && chunk[0] === 0x1f && chunk[1] === 0x8b)
      throw noBundle('it is compressed; unpack it first, for example with `gunzip`');
    isFirst = false;
    let rest = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    for (let at = rest.indexOf(10); at !== -1; at = rest.indexOf(10)) {
      if (begunBytes + at > maxLineBytes) throw noBundle('a line is longer than 4 MiB');
      const own = rest.subarray(0, at);
      yield textOf(begun.length === 0 ? own : Buffer.concat([...begun, own]));
      begun = [];
      begunBytes = 0;
      rest = rest.subarray(at + 1);
    }
    if (rest.length > 0) {
      begun.push(rest);
      begunBytes += rest.length;
    }
    if (begunBytes > maxLineBytes) throw noBundle('a line is longer than 4 MiB');
  }
  if (begunBytes > 0) yield textOf(Buffer.concat(begun));
}

const textOf = (line: Buffer): string => (isUtf8(line) ? line.toString('utf8') : '');

/** The error of a file that is no bundle. */
export const noBundle = (why: string): KontextError =>
  new KontextError('KX_BUNDLE_INVALID', 'the file cannot be verified', { why });
