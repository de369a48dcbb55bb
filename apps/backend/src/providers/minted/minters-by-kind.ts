import type { MinterDeps, MintersByKind } from './minter.ts';

/** Creates the minters; nothing is called yet. */
export function createMintersByKind(_deps: MinterDeps): MintersByKind {
  return {};
}
