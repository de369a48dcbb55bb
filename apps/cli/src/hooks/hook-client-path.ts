import { accessSync, constants, existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { KontextError } from '@kontext/errors';

/** The program agents run on every tool call. */
export interface HookClientPath {
  /** `native` starts in under a millisecond and sees who listens; `twin` is the same in TypeScript, run by Node. */
  readonly kind: 'native' | 'twin';
  /** Absolute. */
  readonly path: string;
}

/** Beside `dist`: the package of this platform, or what a checkout has built. */
const nativePlaces = [
  `../../hook-${process.platform}-${process.arch}/kontext-hook`,
  '../../hook/dist/kontext-hook',
];

/** Beside the bundle we run from, or in `dist` when we run from source. */
const twinPlaces = ['./hook.cjs', '../../dist/hook.cjs'];

/**
 * Where the hook client lies: the native one where there is one for this machine, else the twin.
 *
 * @throws KontextError `KX_INTERNAL` when it is nowhere: an incomplete installation.
 */
export function hookClientPath(): HookClientPath {
  const native = nativePlaces.map(absolute).find(isExecutable);
  if (native !== undefined) return { kind: 'native', path: native };
  const twin = twinPlaces.map(absolute).find((path) => existsSync(path));
  if (twin !== undefined) return { kind: 'twin', path: twin };
  throw new KontextError('KX_INTERNAL', 'the hook client is missing', { hint: 'install kontext again' });
}

const absolute = (place: string): string => fileURLToPath(new URL(place, import.meta.url));

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
