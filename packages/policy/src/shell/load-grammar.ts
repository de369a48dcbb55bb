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

/** Parses shell text; holds no state between two calls. */
export interface ShellGrammar {
  /**
   * @param text Bounded by `limitText`, well-formed Unicode.
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
 * @param anew Loads even when it was loaded before.
 * @throws KontextError `KX_INTERNAL` when a file is not there or is no WebAssembly.
 */
export async function loadGrammar(wasmDirectory?: string, anew = false): Promise<ShellGrammar> {
  try {
    if (anew) loading = undefined;
    loading ??= loadLanguage(wasmDirectory);
    const grammar = createGrammar(await loading);
    // Compiles what every text needs, now and not at the first call.
    grammar.parse('a "$b" | c');
    return grammar;
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
  // Otherwise a trap of the wasm is written to the terminal.
  const quiet = (): void => {};
  await Parser.init({ wasmBinary, print: quiet, printErr: quiet });
  return Language.load(grammar);
}

function findWasm(name: string, packageName: string, directory: string | undefined): string {
  if (directory !== undefined) return join(directory, name);
  const here = dirname(fileURLToPath(import.meta.url));
  const bundled = [join(here, name), join(here, '..', name)].find((path) => existsSync(path));
  if (bundled !== undefined) return bundled;
  return createRequire(import.meta.url).resolve(`${packageName}/${name}`);
}

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
  const tree = parser.parse(text);
  if (tree === null) return null;
  try {
    return copyTree(tree, text);
  } finally {
    tree.delete();
  }
}
