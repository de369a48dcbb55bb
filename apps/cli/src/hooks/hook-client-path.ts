import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { KontextError } from '@kontext/errors';

/**
 * Where the bundled hook client lies: beside the bundle we run from, one folder up when that is a chunk, or in
 * `dist` when we run from source.
 *
 * @throws KontextError `KX_INTERNAL` when it is nowhere: an incomplete installation.
 */
export function hookClientPath(): string {
  const places = ['./hook.cjs', '../hook.cjs', '../../dist/hook.cjs'];
  const found = places
    .map((place) => fileURLToPath(new URL(place, import.meta.url)))
    .find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new KontextError('KX_INTERNAL', 'the hook client is missing', { hint: 'install kontext again' });
}
