import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { KontextError } from '@kontext/errors';
import { Language, Parser } from 'web-tree-sitter';
import { copyTree, type ShellTree } from './syntax-tree.ts';

const runtimeName = 'web-tree-sitter.wasm';
const grammarName = 'tree-sitter-bash.wasm';

/** Longest text that is parsed, UTF-16 code units: a megabyte would block the process for half a second. */
export const maxScriptLength = 64 * 1024;

/** Parses shell text; holds no state between two calls. */
export interface ShellGrammar {
  /**
   * @param text At most {@link maxScriptLength} units, well-formed Unicode.
   * @returns The tree; null when the parser gave up.
   */
  parse(text: string): ShellTree | null;
}

let loading: Promise<Language> | undefined;

/**
 * Loads the parser and bash's grammar, both WebAssembly; the second call in a process is free.
 *
 * The bytes are read here and handed over: the glue code would look for them by the place of a module that a bundle has
 * swallowed.
 *
 * @param wasmDirectory Folder of both files. Default: beside this file or one folder up, as in a bundle with chunks; else the
 *   installed packages.
 * @throws KontextError `KX_INTERNAL` when a file is not there or is no WebAssembly.
 */
export async function loadGrammar(wasmDirectory?: string): Promise<ShellGrammar> {
  try {
    loading ??= loadLanguage(wasmDirectory);
    return createGrammar(await loading);
  } catch (cause) {
    loading = undefined;
    throw new KontextError('KX_INTERNAL', 'the shell grammar cannot be loaded', {
      why: `${runtimeName} or ${grammarName} is missing or unreadable`,
      hint: 'install kontext again',
      cause,
    });
  }
}

async function loadLanguage(wasmDirectory: string | undefined): Promise<Language> {
  const [wasmBinary, grammar] = await Promise.all([
    readFile(findWasm(runtimeName, 'web-tree-sitter', wasmDirectory)),
    readFile(findWasm(grammarName, 'tree-sitter-bash', wasmDirectory)),
  ]);
  await Parser.init({ wasmBinary });
  return Language.load(grammar);
}

function findWasm(name: string, packageName: string, directory: string | undefined): string {
  if (directory !== undefined) return join(directory, name);
  const here = dirname(fileURLToPath(import.meta.url));
  const bundled = [join(here, name), join(here, '..', name)].find((path) => existsSync(path));
  if (bundled !== undefined) return bundled;
  return createRequire(import.meta.url).resolve(`${packageName}/${name}`);
}

// The parser reports every hundred steps of its own. Ordinary text takes three steps a character; hostile text that keeps
// several readings alive takes hundreds.
const reportsPerKilobyte = 400;
const leastReports = 2000;

function createGrammar(language: Language): ShellGrammar {
  let parser: Parser | undefined;
  return {
    parse(text) {
      try {
        parser ??= new Parser().setLanguage(language);
        return parseWith(parser, text);
      } catch {
        // A trap inside the wasm leaves its parser in no known state.
        parser = undefined;
        return null;
      }
    },
  };
}

function parseWith(parser: Parser, text: string): ShellTree | null {
  let reportsLeft = leastReports + (text.length / 1024) * reportsPerKilobyte;
  const progressCallback = (): boolean => reportsLeft-- <= 0;
  const tree = parser.parse(text, null, { progressCallback });
  if (tree === null) {
    parser.reset();
    return null;
  }
  try {
    return copyTree(tree, text);
  } finally {
    tree.delete();
  }
}
