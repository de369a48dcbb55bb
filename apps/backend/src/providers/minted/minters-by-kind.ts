import type { MinterDeps, MintersByKind } from './minter.ts';
import { createPostgresMinter } from './postgres-minter.ts';

/** Creates the minters; nothing is called yet. */
export const createMintersByKind = (deps: MinterDeps): MintersByKind => ({
  postgres: createPostgresMinter(deps),
});
