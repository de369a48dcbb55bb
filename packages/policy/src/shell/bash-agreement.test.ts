import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readBash } from './test-reader.ts';

let directory = '';

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'kontext-bash-'));
  // No program is found, so nothing runs; bash tells what it would have run.
  const tell = `command_not_found_handle() { printf '%s\\0' "$#" "$@" >> "$OUT"; }`;
  writeFileSync(join(directory, 'start'), `PATH=/nonexistent\nFUNCNEST=3\n${tell}\n`);
});

afterAll(() => rmSync(directory, { recursive: true }));

let round = 0;

/** Every program bash would run for a text, with its arguments. */
function runInBash(text: string): readonly (readonly string[])[] {
  round += 1;
  const out = join(directory, `out${round}`);
  writeFileSync(out, '');
  const env = { BASH_ENV: join(directory, 'start'), HOME: '/home/dev', OUT: out };
  spawnSync('bash', ['-c', text], { cwd: directory, env, timeout: 5000, stdio: 'ignore' });
  const fields = readFileSync(out, 'utf8').split('\0').slice(0, -1);
  const runs: string[][] = [];
  for (let at = 0; at < fields.length; ) {
    const length = Number(fields[at]);
    runs.push(fields.slice(at + 1, at + 1 + length));
    at += 1 + length;
  }
  return runs;
}

const piece = fc.constantFrom(
  ...[
    'a',
    'b1',
    '-x',
    '=',
    '~',
    '#',
    "'a b'",
    "'$x'",
    '"a b"',
    '"\\$x\\""',
    '"a\\\nb"',
    '""',
    '\\ ',
    '\\"',
    "\\'",
    '\\n',
  ],
  ...[
    "$'a\\nb\\x41\\101'",
    "$'\\''",
    '{a,b}',
    '{1..3}',
    '{a',
    'a}',
    '{}',
    '"$HOME"',
    '$HOME',
    '"\\a"',
    '%',
    '@',
  ],
);
const words = fc.array(
  fc.array(piece, { minLength: 1, maxLength: 4 }).map((pieces) => pieces.join('')),
  {
    minLength: 1,
    maxLength: 5,
  },
);

it('reads words as bash does', () => {
  fc.assert(
    fc.property(words, (list) => {
      const text = `c1 ${list.join(' ')}`;
      const found = readBash(text);
      if (found.opaque.length > 0 || found.commands[0]?.dynamic) return;
      expect(runInBash(text)).toEqual([['c1', ...(found.commands[0]?.args ?? [])]]);
    }),
    { numRuns: 150 },
  );
});

const simple = fc.constantFrom(
  ...[
    'c1',
    'c2 a',
    'x=c3; $x',
    'c\'4\' "b"',
    'eval c5',
    '! c6',
    '[ a = b ]',
    'cd .',
    'x=1 c7 $x',
    'c8 >o b',
    'c9 <<< a',
  ],
  ...[
    'c1 $(c2)',
    'c3 "`c4`"',
    'c5 <(c6)',
    "cat <<'E'\n$(c1)\nE\n",
    'cat <<E\n$(c2) `c3`\nE\n',
    'f() { c4; }; f',
    'x=c1',
    '$x',
  ],
  ...[
    "c2 # it's\n",
    'c3 \\\n a',
    'export x=c4',
    'unset x',
    '{ c5; }',
    'time c6',
    'command c7',
    "c8 $'\\''",
    'c9 {a,b}',
  ],
);
const noise = fc.constantFrom(
  ...[
    '',
    '',
    '',
    ' ',
    '\\',
    '"',
    "'",
    '$',
    '#',
    '\n',
    '\\\n',
    '{',
    '}',
    '(',
    ')',
    '|',
    '&',
    ';',
    '!',
    '`',
    '\t',
    '\r',
    '\u00a0',
  ],
);
const script = fc
  .array(fc.tuple(simple, fc.constantFrom('; ', ' && ', ' || ', ' | ', '\n', ' & '), noise), {
    minLength: 1,
    maxLength: 4,
  })
  .chain((list) => {
    const text = list.map(([one, operator, extra]) => `${one}${extra}${operator}`).join('');
    return fc.tuple(fc.constant(`${text} c0`), fc.nat(text.length), noise);
  })
  .map(([text, at, extra]) => text.slice(0, at) + extra + text.slice(at));

it('misses nothing that bash runs, unless it says so', () => {
  fc.assert(
    fc.property(script, (text) => {
      const found = readBash(text);
      if (found.opaque.length > 0) return;
      for (const [program = '', ...args] of runInBash(text)) {
        const alike = found.commands.filter((part) => part.path === program);
        expect(alike.some((part) => part.dynamic || part.args.join('\0') === args.join('\0'))).toBe(true);
      }
    }),
    { numRuns: 150 },
  );
}, 60_000);
