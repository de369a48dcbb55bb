#!/usr/bin/env node
// Compiles the native hook client (apps/hook). Run alone: `node scripts/build-hook.mjs [--source F] [--sanitize] <out>`.
//
// A static program: nothing a project's environment names (LD_PRELOAD) is loaded into it. With musl it starts fastest.
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';

const sources = fileURLToPath(new URL('../apps/hook/src/', import.meta.url));
const strict = ['-std=c11', '-Wall', '-Wextra', '-Wpedantic', '-Werror'];
const release = ['-O2', '-s', '-static', '-fstack-protector-strong', '-D_FORTIFY_SOURCE=2'];
const sanitized = [
  '-g',
  '-O1',
  '-fsanitize=address,undefined',
  '-fno-sanitize-recover=all',
  '-Wno-unused-function',
];

const works = (compiler) => spawnSync(compiler, ['--version'], { stdio: 'ignore' }).status === 0;

/**
 * Compiles one source. Static linking is not to be had on macOS, where it is left out.
 *
 * @returns Null when it was made, else why not; a missing compiler is no error.
 */
export function compileHook(out, { source = 'kontext-hook.c', sanitize = false } = {}) {
  const compilers = sanitize ? ['cc'] : ['musl-gcc', 'cc'];
  const compiler = compilers.find(works);
  if (compiler === undefined) return 'no C compiler (Debian: apt-get install gcc musl-tools)';
  const flags = sanitize
    ? sanitized
    : release.filter((flag) => process.platform === 'linux' || flag !== '-static');
  mkdirSync(dirname(out), { recursive: true });
  const args = [...strict, ...flags, '-o', out, join(sources, source)];
  const { status, stderr, error } = spawnSync(compiler, args, { encoding: 'utf8' });
  if (status === 0) return null;
  throw new Error(`${compiler} could not compile ${source}: ${error?.message ?? stderr}`);
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const at = argv.indexOf('--source');
  const source = at < 0 ? undefined : argv[at + 1];
  const reason = compileHook(argv.at(-1), {
    ...(source ? { source } : {}),
    sanitize: argv.includes('--sanitize'),
  });
  if (reason !== null) {
    console.error(reason);
    process.exitCode = 3;
  }
}
