import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import * as cedar from '@cedar-policy/cedar-wasm/web';
import { KontextError } from '@kontext/errors';

/** Cedar's functions, once its wasm runs. */
export type Cedar = Omit<typeof cedar, 'default' | 'initSync'>;

const wasmName = 'cedar_wasm_bg.wasm';

/**
 * Loads Cedar's WebAssembly; the second call in a process is free.
 *
 * The package's nodejs build reads its wasm from `__dirname` while it is imported: an ES module bundle has no
 * `__dirname`, and nothing could be said about the place. Its web build is the same glue code around the very same
 * wasm bytes (a test compares them), but takes the bytes as an argument. So the web glue is bundled, and the wasm
 * file of the nodejs build, the only one that is shipped, is read here.
 *
 * @param wasmPath Path of `cedar_wasm_bg.wasm`. Default: beside this file or one folder up, as in a bundle with
 *   chunks; else inside the installed package.
 * @throws KontextError `KX_INTERNAL` when the file is not there or is no WebAssembly.
 */
export async function loadCedar(wasmPath?: string): Promise<Cedar> {
  try {
    keepCallsOutOfLine();
    const bytes = await readFile(wasmPath ?? findWasm());
    cedar.initSync({ module: bytes });
    return cedar;
  } catch (cause) {
    throw new KontextError('KX_INTERNAL', 'the policy engine cannot be loaded', {
      why: `${wasmName} is missing or unreadable`,
      hint: 'install kontext again',
      cause,
    });
  }
}

/**
 * Works around a crash of Node 20 (V8 11.3), gone in 22 and 24.
 *
 * When a hot function with a call into WebAssembly inlined is deoptimised during that call, and the call returns a
 * JavaScript value as all of Cedar's do, V8 ends the process ("unreachable code" in the deoptimizer). Loading a
 * thousand rules, then parsing a few more, is enough. Without inlining a call costs some nanoseconds more.
 */
function keepCallsOutOfLine(): void {
  if (process.versions.v8.startsWith('11.')) setFlagsFromString('--no-turbo-inline-js-wasm-calls');
}

function findWasm(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const bundled = [join(here, wasmName), join(here, '..', wasmName)].find((path) => existsSync(path));
  if (bundled !== undefined) return bundled;
  const glue = createRequire(import.meta.url).resolve('@cedar-policy/cedar-wasm/nodejs');
  return join(dirname(glue), wasmName);
}
