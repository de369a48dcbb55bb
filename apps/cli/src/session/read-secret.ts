import { KontextError } from '@kontext/errors';
import { Secret } from '@kontext/redaction';
import type { Terminal } from '../terminal.ts';

/** The store takes no more than this. */
const maxSecretBytes = 64 * 1024;

/**
 * Reads a secret from standard input, or in a terminal from a prompt that shows nothing. Never from an argument: those
 * stand in process lists and shell histories.
 *
 * @param name What to ask for.
 * @returns The value without one trailing line end.
 * @throws KontextError `KX_SECRET_INVALID` when it is empty, too large or not UTF-8; `KX_INPUT_NEEDED`.
 */
export async function readSecret(terminal: Terminal, name: string): Promise<Secret> {
  const text = terminal.stdinIsTerminal
    ? await terminal.askHidden(name)
    : decode(await terminal.readStdin(maxSecretBytes + 2)).replace(/\r?\n$/, '');
  if (text === '') throw new KontextError('KX_SECRET_INVALID', `no value was given for ${name}`);
  if (Buffer.byteLength(text) > maxSecretBytes) {
    throw new KontextError('KX_SECRET_INVALID', `the value of ${name} is larger than 64 KiB`);
  }
  return new Secret(text);
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new KontextError('KX_SECRET_INVALID', 'the value is not valid UTF-8');
  }
}
