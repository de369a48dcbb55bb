import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
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
  const hook = copy('apps/hook/dist');
  symlinkSync(source('node_modules'), join(folder, 'node_modules'));
  return {
    ...builtPrograms(),
    kontext: [process.execPath, '--', join(cli, 'main.js')],
    nativeClient: join(hook, 'kontext-hook'),
    twinClient: join(cli, 'hook.cjs'),
    policyEngine: join(cli, 'cedar_wasm_bg.wasm'),
  };
}
