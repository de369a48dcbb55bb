import { optionTexts, programsWithTexts } from './option-texts.ts';
import { type OuterCommand, type Reader, texts } from './outer-command.ts';
import { readAlias, readCallback, readEval, readHash, readSource, readTrap } from './read-builtin.ts';
import { readParallel, readSsh, readWatch } from './read-joined.ts';
import { readFind, readXargs } from './read-repeated.ts';
import { readContainer, readRunner, runners } from './read-runner.ts';
import { readGroup, readRunuser, readScript, readTextOption } from './read-user-shell.ts';
import { readWrapped } from './read-wrapped.ts';
import { inside, noOutcome } from './reading.ts';
import { type Inner, readGivenText } from './run-shell.ts';
import { copyScope } from './scope.ts';
import { plainField } from './words.ts';
import { wrappers } from './wrappers.ts';

/** Reads what a program runs that is no shell: the words behind it, or a text it is given. Null for any other program. */
export function readWrapper(outer: OuterCommand): Inner | null {
  const reader = readers.get(outer.program);
  if (reader !== undefined) return reader(outer);
  const spec = wrappers.get(outer.program);
  return spec === undefined ? null : readWrapped(outer, spec);
}

const readOptionTexts: Reader = ({ reading, program, args, place }) => ({
  ownArgs: texts(args),
  run: () => {
    for (const text of optionTexts(program, texts(args))) {
      const scope = { ...copyScope(place.scope), directories: [null] };
      readGivenText(reading, plainField(text), inside(place, program, { scope }));
    }
    return noOutcome;
  },
});

const readers: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ['eval', readEval],
  ['trap', readTrap],
  ['source', readSource],
  ['.', readSource],
  ['alias', readAlias],
  ['hash', readHash],
  ...programsWithTexts.map((name) => [name, readOptionTexts] as const),
  ...['mapfile', 'readarray', 'compgen', 'complete'].map((name) => [name, readCallback] as const),
  ['xargs', readXargs],
  ['find', readFind],
  ['gfind', readFind],
  ['fd', readFind],
  ['fdfind', readFind],
  ['watch', readWatch],
  ['ssh', readSsh],
  ['parallel', readParallel],
  ['su', readTextOption],
  ['sg', readGroup],
  ['runuser', readRunuser],
  ['script', readScript],
  ...[...runners.keys()].map((name) => [name, readRunner] as const),
  ...['docker', 'podman', 'nerdctl', 'kubectl', 'oc'].map((name) => [name, readContainer] as const),
]);
