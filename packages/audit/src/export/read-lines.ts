import { isUtf8 } from 'node:buffer';
import { KontextError } from '@kontext/errors';

/** Longest line of a bundle in bytes: a header and a payload, both escaped as JSON at their worst, fit four times. */
const maxLineBytes = 4 << 20;

/**
 * Cuts bytes into lines, without keeping more than a chunk and the beginning of a line.
 *
 * @param chunks UTF-8 in pieces of any length.
 * @returns The lines that ended in a chunk, never none, without their line feeds. Empty is one that is no UTF-8, so that nothing
 * can read it: as U+FFFD its bytes would pass for those of a text that holds that character. So is a last one that lacks its line
 * feed, unless it is the first: every line of a bundle has one, so the file was cut off.
 * @throws KontextError `KX_BUNDLE_INVALID` when a line is over 4 MiB, or the file is compressed.
 */
export async function* readBundleLines(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<readonly string[]> {
  let begun: Uint8Array[] = [];
  let begunBytes = 0;
  let isFirst = true;
  let hasLines = false;
  for await (const chunk of chunks) {
    if (isFirst && chunk.length > 1 && chunk[0] === 0x1f && chunk[1] === 0x8b)
      throw noBundle('it is compressed; unpack it first, for example with `gunzip`');
    isFirst = false;
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const lines: string[] = [];
    let from = 0;
    for (let at = bytes.indexOf(10); at !== -1; at = bytes.indexOf(10, from)) {
      if (begunBytes + at - from > maxLineBytes) throw noBundle('a line is longer than 4 MiB');
      const own = bytes.subarray(from, at);
      lines.push(textOf(begun.length === 0 ? own : Buffer.concat([...begun, own])));
      begun = [];
      begunBytes = 0;
      from = at + 1;
    }
    if (from < bytes.length) begun.push(bytes.subarray(from));
    begunBytes += bytes.length - from;
    if (lines.length > 0) yield lines;
    hasLines ||= lines.length > 0;
    if (begunBytes > maxLineBytes) throw noBundle('a line is longer than 4 MiB');
  }
  if (begunBytes > 0) yield [hasLines ? '' : textOf(Buffer.concat(begun))];
}

const textOf = (line: Buffer): string => (isUtf8(line) ? line.toString('utf8') : '');

/** The error of a file that is no bundle. */
export const noBundle = (why: string): KontextError =>
  new KontextError('KX_BUNDLE_INVALID', 'the file cannot be verified', { why });
