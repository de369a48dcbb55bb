import { cpSync, existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { builtPrograms, type Programs, repositoryRoot } from './programs.ts';

/** A copy of the built command, and where its hook clients lie: to be broken without breaking anybody else's. */
export interface CopiedPrograms extends Programs {
  /** The native hook client; not there where no compiler was. */
  readonly nativeClient: string;
  readonly twinClient: string;
  /** Cedar's WebAssembly. */
  readonly policyEngine: string;
  /** Puts hook clients and policy engine back; nothing else is touched, so that whatever runs goes on. */
  restore(): void;
}

/** Copies the built command and its hook clients into a folder; the backend stays where it was built. */
export function copyPrograms(folder: string): CopiedPrograms {
  const source = (path: string): string => fileURLToPath(new URL(path, repositoryRoot()));
  const copy = (path: string): string => {
    mkdirSync(join(folder, path), { recursive: true });
    cpSync(source(path), join(folder, path), { recursive: true });
    return join(folder, path);
  };
  const cli = copy('apps/cli/dist');
  copy('apps/hook/dist');
  symlinkSync(source('node_modules'), join(folder, 'node_modules'));
  const breakable = {
    nativeClient: 'apps/hook/dist/kontext-hook',
    twinClient: 'apps/cli/dist/hook.cjs',
    policyEngine: 'apps/cli/dist/cedar_wasm_bg.wasm',
  };
  const copied = (name: keyof typeof breakable): string => join(folder, breakable[name]);
  return {
    ...builtPrograms(),
    kontext: [process.execPath, '--', join(cli, 'main.js')],
    nativeClient: copied('nativeClient'),
    twinClient: copied('twinClient'),
    policyEngine: copied('policyEngine'),
    restore() {
      for (const path of Object.values(breakable)) {
        // Unlinked first: what still runs keeps the file it has.
        rmSync(join(folder, path), { force: true });
        if (existsSync(source(path))) cpSync(source(path), join(folder, path));
      }
    },
  };
}
