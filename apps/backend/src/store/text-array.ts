/** Arrays of texts as Postgres sends and takes them in binary (array_recv): nothing has to be escaped, and nothing searched. */

/** What an array of texts is written as: its length, and -1 or its bytes for each element. */
const textType = 25;
const headLength = 20;

/**
 * @returns The array in binary form; null when it holds anything but texts and nulls, which the driver has to write.
 */
export function encodeTextArray(values: readonly unknown[]): Buffer | null {
  let length = headLength;
  let hasNull = 0;
  for (const value of values) {
    if (value === null) hasNull = 1;
    else if (typeof value !== 'string') return null;
    length += 4 + (value === null ? 0 : Buffer.byteLength(value));
  }
  const isEmpty = values.length === 0;
  const bytes = Buffer.allocUnsafe(isEmpty ? 12 : length);
  bytes.writeInt32BE(isEmpty ? 0 : 1, 0);
  bytes.writeInt32BE(hasNull, 4);
  bytes.writeInt32BE(textType, 8);
  if (isEmpty) return bytes;
  bytes.writeInt32BE(values.length, 12);
  bytes.writeInt32BE(1, 16);
  writeTexts(bytes, values as readonly (string | null)[]);
  return bytes;
}

function writeTexts(bytes: Buffer, texts: readonly (string | null)[]): void {
  let at = headLength;
  for (const text of texts) {
    const length = text === null ? 0 : bytes.write(text, at + 4);
    bytes.writeInt32BE(text === null ? -1 : length, at);
    at += 4 + length;
  }
}
