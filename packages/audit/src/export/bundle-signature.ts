import { type Checkpoint, parseCheckpoint } from '../log/checkpoint.ts';
import { formatVerifierKey, openNote, parseVerifierKey } from '../log/signed-note.ts';

/** What this machine knows of a log from elsewhere than the file. */
export interface PinnedLog {
  /** Verifier key, `name+id+key`. */
  readonly key: string;
  /** The newest checkpoint this machine has seen of it. */
  readonly checkpoint?: Pick<Checkpoint, 'size' | 'root'> | null;
}

/** Whose signature counts. */
export interface TrustedKeys {
  /** Verifier keys the reader was given. */
  readonly keys: readonly string[];
  readonly pinned: readonly PinnedLog[];
}

/** A checkpoint whose signature was looked at. */
export interface CheckedNote {
  readonly checkpoint: Checkpoint;
  /** Verifier key that has signed it. */
  readonly key: string;
  /** Who vouches for that key; null: nobody but the file. */
  readonly trust: 'given' | 'pinned' | null;
}

/**
 * Opens the checkpoint of a bundle.
 *
 * @param fileKeys Verifier keys of the file, which vouch for nothing.
 * @returns What it says, or what is wrong with it as a sentence.
 */
export function openBundleNote(
  note: string,
  fileKeys: readonly string[],
  { keys, pinned }: TrustedKeys,
): CheckedNote | string {
  const trusted = [...keys, ...pinned.map(({ key }) => key)];
  const verifiers = unique([...trusted, ...fileKeys]).flatMap((key) => parseVerifierKey(key) ?? []);
  const opened = openNote(note, verifiers);
  const checkpoint = opened === null ? null : parseCheckpoint(opened.text);
  if (opened === null || checkpoint === null)
    return 'the checkpoint is not signed by the key it names, or was changed';
  const signers = opened.signedBy.filter(({ name }) => name === checkpoint.origin).map(formatVerifierKey);
  const given = signers.find((key) => keys.includes(key));
  if (given !== undefined) return { checkpoint, key: given, trust: 'given' };
  const own = signers.find((key) => pinned.some((log) => log.key === key));
  if (own !== undefined) return { checkpoint, key: own, trust: 'pinned' };
  if (trusted.some((key) => isOf(checkpoint.origin, key))) {
    return 'the checkpoint is signed by another key than the one that was given or pinned for this log';
  }
  const [key] = signers;
  return key === undefined
    ? 'nobody whose key is known has signed the checkpoint'
    : { checkpoint, key, trust: null };
}

const isOf = (origin: string, key: string): boolean => parseVerifierKey(key)?.name === origin;
const unique = (texts: readonly string[]): string[] => [...new Set(texts)];
