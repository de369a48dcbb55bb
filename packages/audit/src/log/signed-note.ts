/**
 * Signed notes (C2SP signed-note): a text, an empty line, and a line per signature.
 *
 * ```
 * text, one or more lines, each ended by a line feed
 *
 * — <key name> <base64 of key id (4 bytes) ‖ signature>
 * ```
 * Ed25519 alone: key id = the first four bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key), the signature is over the text.
 */
import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';

/** Signature type of Ed25519. */
const ed25519 = 1;
const publicKeyBytes = 32;
/** In front of a raw Ed25519 key it makes a SubjectPublicKeyInfo (RFC 8410 §4). */
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex');
const maxNoteBytes = 64 * 1024;
const maxSignatures = 16;
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Whose signatures count. */
export interface NoteVerifier {
  readonly name: string;
  /** Eight hex digits. */
  readonly keyId: string;
  readonly publicKey: KeyObject;
}

/** A note that was opened. */
export interface OpenedNote {
  readonly text: string;
  /** Verifiers whose signature was there and right. */
  readonly signedBy: readonly NoteVerifier[];
  /** Signatures of keys that are none of the verifiers'. */
  readonly unknown: readonly { readonly name: string; readonly keyId: string }[];
}

/** Reads a verifier key, `name+8 hex digits+base64 of 0x01 ‖ public key`; null when it is none. */
export function parseVerifierKey(text: string): NoteVerifier | null {
  const [name = '', keyId = '', encoded = '', ...rest] = splitKey(text);
  if (rest.length > 0 || !isKeyName(name) || !base64.test(encoded)) return null;
  const key = Buffer.from(encoded, 'base64');
  if (key.length !== publicKeyBytes + 1 || key[0] !== ed25519) return null;
  const verifier = toVerifier(name, key.subarray(1));
  return verifier.keyId === keyId ? verifier : null;
}

/** Base64 may hold `+`, so only the first two separate. */
function splitKey(text: string): readonly string[] {
  const first = text.indexOf('+');
  const second = text.indexOf('+', first + 1);
  return first < 0 || second < 0
    ? []
    : [text.slice(0, first), text.slice(first + 1, second), text.slice(second + 1)];
}

/** Makes a verifier of a raw public key (32 bytes). */
export function toVerifier(name: string, publicKey: Uint8Array): NoteVerifier {
  const typed = Buffer.concat([Buffer.of(ed25519), publicKey]);
  const keyId = createHash('sha256').update(`${name}\n`, 'utf8').update(typed).digest('hex').slice(0, 8);
  const der = Buffer.concat([spkiPrefix, publicKey]);
  return { name, keyId, publicKey: createPublicKey({ key: der, format: 'der', type: 'spki' }) };
}

/** The text of a verifier key, as it is pinned and published. */
export function formatVerifierKey({ name, keyId, publicKey }: NoteVerifier): string {
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(spkiPrefix.length);
  return `${name}+${keyId}+${Buffer.concat([Buffer.of(ed25519), raw]).toString('base64')}`;
}

/** Adds a signature to a text. @param signature Ed25519 over the text's UTF-8 bytes; 64 bytes. */
export function formatNote(
  text: string,
  signer: Pick<NoteVerifier, 'name' | 'keyId'>,
  signature: Uint8Array,
) {
  const signed = Buffer.concat([Buffer.from(signer.keyId, 'hex'), signature]).toString('base64');
  return `${text}\n— ${signer.name} ${signed}\n`;
}

/**
 * Opens a note with the verifiers one trusts.
 *
 * @returns Null when it is no note, or a signature that claims to be of one of the verifiers is wrong. Nobody signed it when
 *   `signedBy` is empty: that is for the caller to judge.
 */
export function openNote(note: string, verifiers: readonly NoteVerifier[]): OpenedNote | null {
  if (note.length > maxNoteBytes || /[\p{Cc}\p{Surrogate}]/u.test(note.replaceAll('\n', ''))) return null;
  const at = note.lastIndexOf('\n\n');
  if (at < 0 || !note.endsWith('\n')) return null;
  const text = note.slice(0, at + 1);
  const lines = note.slice(at + 2, -1).split('\n');
  if (lines.length > maxSignatures) return null;
  const signedBy: NoteVerifier[] = [];
  const unknown: { name: string; keyId: string }[] = [];
  for (const line of lines) {
    const signature = parseSignature(line);
    if (signature === null) return null;
    const { name, keyId, bytes } = signature;
    const verifier = verifiers.find((known) => known.name === name && known.keyId === keyId);
    if (verifier === undefined) unknown.push({ name, keyId });
    else if (!verify(null, Buffer.from(text, 'utf8'), verifier.publicKey, bytes)) return null;
    else if (!signedBy.includes(verifier)) signedBy.push(verifier);
  }
  return { text, signedBy, unknown };
}

function parseSignature(line: string) {
  const [dash, name = '', encoded = '', ...rest] = line.split(' ');
  if (dash !== '—' || rest.length > 0 || !isKeyName(name) || !base64.test(encoded)) return null;
  const bytes = Buffer.from(encoded, 'base64');
  if (bytes.length < 5) return null;
  return { name, keyId: bytes.subarray(0, 4).toString('hex'), bytes: bytes.subarray(4) };
}

/** Non-empty, no white space, no plus sign. */
const isKeyName = (name: string): boolean => name !== '' && !/[\s+]/u.test(name);
