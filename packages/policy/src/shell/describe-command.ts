import { valueOptions } from './programs.ts';
import { soundText, unknownText } from './words.ts';

const maxArgs = 100;
const maxArgLength = 4096;
const maxCluster = 16;

/** Base name of a program as written: `git` for `/usr/bin/git`. */
export const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** Arguments as far as a part keeps them. */
export function keepArgs(args: readonly string[]): {
  readonly args: readonly string[];
  readonly clipped: boolean;
} {
  const clipped = args.length > maxArgs || args.some((arg) => arg.length > maxArgLength);
  if (!clipped) return { args, clipped };
  return { args: args.slice(0, maxArgs).map((arg) => soundText(arg.slice(0, maxArgLength))), clipped };
}

/**
 * Options, one each, without repetition: `--force-with-lease=x` as `--force-with-lease`; `-rf` as `-rf`, `-r` and `-f`.
 *
 * What stands behind `--` is no option. What follows a letter that takes a value (`-n5`) cannot be told from more letters.
 */
export function flagsOf(args: readonly string[]): readonly string[] {
  const flags = new Set<string>();
  for (const arg of args) {
    if (arg === '--') break;
    if (!arg.startsWith('-') || arg.length < 2 || arg.startsWith(unknownText, 1)) continue;
    const equals = arg.indexOf('=');
    const name = equals < 0 ? arg : arg.slice(0, equals);
    flags.add(name);
    if (name.startsWith('--') || name.length > maxCluster) continue;
    for (const letter of name.slice(1).replaceAll(/[^A-Za-z0-9]/g, '')) flags.add(`-${letter}`);
  }
  return [...flags].slice(0, maxArgs);
}

/** First argument that is no option, no value of a global one and no `+toolchain`; empty without. */
export function subcommandOf(program: string, args: readonly string[]): string {
  const valued = valueOptions.get(program);
  for (let at = 0; at < args.length; at += 1) {
    const arg = args[at] ?? '';
    if (arg === '--') return args[at + 1] ?? '';
    if (arg.startsWith('+')) continue;
    if (!arg.startsWith('-')) return arg;
    if (valued?.has(arg)) at += 1;
  }
  return '';
}
