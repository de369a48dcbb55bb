import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { KontextError } from '@kontext/errors';

/** Beside the chunk we run from, or in `dist` when we run from source. */
const places = ['./main.js', '../main.js', '../../dist/main.js'];

/**
 * Where the `kontext` program lies, for others to call; absolute.
 *
 * @throws KontextError `KX_INTERNAL` when it is nowhere: an incomplete installation.
 */
export function programPath(): string {
  const found = places.map((place) => fileURLToPath(new URL(place, import.meta.url))).find(existsSync);
  if (found !== undefined) return found;
  throw new KontextError('KX_INTERNAL', 'the program is missing', { hint: 'install kontext again' });
}
