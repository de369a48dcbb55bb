/** Tools that run the words behind a subcommand. */
import { type Reader, texts } from './outer-command.ts';
import { joinedSpec } from './read-joined.ts';
import { elsewhere, inside, type Outcome } from './reading.ts';
import { readGivenText } from './run-shell.ts';
import { plainField } from './words.ts';
import { findWrapped } from './wrappers.ts';

/** `docker exec box command`, `kubectl exec pod -- command`: on another machine. */
export const readContainer: Reader = (outer) => {
  const { reading, program, args, place } = outer;
  const words = texts(args);
  const exec = words.indexOf('exec');
  if (exec < 0 || words.slice(0, exec).includes('--')) return null;
  const dashes = words.indexOf('--', exec);
  const spec = joinedSpec('euwcn', 1);
  const start = dashes >= 0 ? dashes + 1 : exec + 1 + findWrapped(words.slice(exec + 1), spec).start;
  const argv = args.slice(start);
  if (argv.length === 0) return null;
  const run = (): Outcome =>
    outer.readArgv(
      reading,
      argv,
      [],
      inside(place, program, { scope: elsewhere(place.scope), straight: false }),
    );
  return { ownArgs: words.slice(0, start), run };
};

/** Project tools that run the words behind a subcommand. */
export const runners: ReadonlyMap<string, string> = new Map([
  ...['uv', 'poetry', 'pipenv', 'pdm', 'hatch', 'rye'].map((name) => [name, 'run'] as const),
  ...['npm', 'pnpm', 'yarn', 'bundle', 'mise', 'asdf', 'direnv'].map((name) => [name, 'exec'] as const),
]);

const runnerValues = 'with python package project env-file directory extra group workspace filter'.split(' ');

/** `uv run rm x`, `bundle exec rm x`, `npm exec -c 'rm x'`. */
export const readRunner: Reader = (outer) => {
  const { reading, program, args, place } = outer;
  const at = args.findIndex(({ text }) => text === runners.get(program));
  if (at < 0 || args.slice(0, at).some(({ text }) => !text.startsWith('-'))) return null;
  const longValues = new Set(['call', ...runnerValues].map((name) => `--${name}`));
  const spec = { ...joinedSpec('pcC', program === 'direnv' ? 1 : 0), longValues };
  const { start, options } = findWrapped(texts(args.slice(at + 1)), spec);
  const argv = args.slice(at + 1 + start);
  const text = program === 'npm' ? (options.get('c') ?? options.get('--call')) : undefined;
  const next = inside(place, program, { straight: false });
  const run = (): Outcome => {
    if (text !== undefined) readGivenText(reading, plainField(text), next);
    return outer.readArgv(reading, argv, [], next);
  };
  return { ownArgs: texts(args.slice(0, at + 1 + start)), run };
};
