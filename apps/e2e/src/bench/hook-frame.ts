/**
 * What the hook socket's clients send; the format stands in apps/cli/src/hooks/client-frames.ts. Written once more, because
 * the bench is no part of the command.
 */

/** Kind byte of a request. */
export const requestKinds = { hook: 1, selfTest: 3 } as const;

/** One request that fits into its head. @param key 32 bytes. */
export function hookFrame(
  kind: keyof typeof requestKinds,
  key: Uint8Array,
  event: string,
  stdin: string,
): Buffer {
  const head = Buffer.from(stdin);
  const sizes = Buffer.alloc(12);
  sizes.writeUInt32BE(head.length, 4);
  sizes.writeUInt32BE(head.length, 8);
  const short = (text: string) => Buffer.from([text.length, ...Buffer.from(text)]);
  const noTail = Buffer.alloc(4);
  return Buffer.concat([
    Buffer.of(1, requestKinds[kind]),
    key,
    short('claude'),
    short(event),
    sizes,
    head,
    noTail,
  ]);
}
