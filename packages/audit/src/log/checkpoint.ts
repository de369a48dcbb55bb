/**
 * Checkpoints (C2SP tlog-checkpoint): the text of a signed note that says how long a log is and what its root is.
 *
 * ```
 * origin
 * size in decimal
 * base64 of the root
 * extension lines, if any
 * ```
 */

/** What a checkpoint says. */
export interface Checkpoint {
  /** Name of the log, one line: `kontext.example/org_0198…`. */
  readonly origin: string;
  /** Number of leaves. */
  readonly size: number;
  /** 32 bytes. */
  readonly root: Uint8Array;
}

/** The text that is signed. */
export const formatCheckpoint = ({ origin, size, root }: Checkpoint): string =>
  `${origin}\n${size}\n${Buffer.from(root).toString('base64')}\n`;

/** Reads the text of a checkpoint; null when it is none. Extension lines are allowed and not read. */
export function parseCheckpoint(text: string): Checkpoint | null {
  const [origin = '', decimal = '', encoded = '', ...extensions] = text.split('\n');
  // Every line ends with a line feed, so the last piece is empty.
  if (origin === '' || extensions.length === 0 || extensions.pop() !== '') return null;
  if (!/^(0|[1-9]\d{0,15})$/.test(decimal) || !/^[A-Za-z0-9+/]{43}=$/.test(encoded)) return null;
  if (extensions.includes('')) return null;
  const size = Number(decimal);
  const root = Buffer.from(encoded, 'base64');
  if (!Number.isSafeInteger(size) || root.toString('base64') !== encoded) return null;
  return { origin, size, root };
}
