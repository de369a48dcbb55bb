import fc from 'fast-check';
import { expect, it } from 'vitest';
import { plainWorld, readAction, readBash, singleQuoted } from './test-reader.ts';

const word = fc
  .stringMatching(/^[a-z][a-z0-9 ."'$\\|;&<>(){}*#~!\n-]{0,8}$/)
  .filter((text) => text.trim() !== '');
const program = fc.constantFrom('git', 'rm', 'kubectl', 'npx', 'psql');

/** The ways to write a word so that bash reads the same. */
const styles: readonly ((text: string) => string)[] = [
  singleQuoted,
  (text) => `"${text.replaceAll(/[\\"$`]/g, '\\$&')}"`,
  // The grammar takes an escaped blank after a quote for a gap, which makes the call opaque.
  (text) =>
    text.includes('\n ')
      ? singleQuoted(text)
      : text.replaceAll(/[^a-z0-9]/g, (char) => (char === '\n' ? "'\n'" : `\\${char}`)),
  (text) =>
    `$'${[...text].map((char) => `\\x${(char.codePointAt(0) ?? 0).toString(16).padStart(2, '0')}`).join('')}'`,
  // The grammar misreads a backslash at the end of these, which makes the call opaque.
  (text) => (text.includes('\\') ? singleQuoted(text) : `$'${text.replaceAll("'", "\\'")}'`),
  (text) => [...text].map((char) => singleQuoted(char)).join('""'),
];
const style = fc.constantFrom(...styles);

const command = fc.record({ program, args: fc.array(word, { maxLength: 4 }) });
const written = fc
  .tuple(command, fc.array(style, { minLength: 5, maxLength: 5 }), fc.constantFrom(' ', '  ', '\t', ' \\\n '))
  .map(([{ program, args }, kinds, gap]) => ({
    program,
    args,
    text: [program, ...args].map((text, at) => (kinds[at] ?? singleQuoted)(text)).join(gap),
  }));

const has = (text: string, wanted: { program: string; args: readonly string[] }): void => {
  const found = readBash(text);
  expect(found.commands).toContainEqual(
    expect.objectContaining({ program: wanted.program, args: wanted.args }),
  );
  expect(found.opaque).toEqual([]);
};

it('finds a command again however its words are quoted', () => {
  fc.assert(fc.property(written, (one) => has(one.text, one)));
});

const wrappers: readonly ((text: string) => string)[] = [
  (text) => `sh -c ${singleQuoted(text)}`,
  (text) => `bash -lc -- ${singleQuoted(text)}`,
  (text) => `sudo -u root ${text}`,
  (text) => `env -i A=b ${text}`,
  (text) => `timeout -k 1 5 ${text}`,
  (text) => `nohup ${text}`,
  (text) => `eval ${singleQuoted(text)}`,
  (text) => `ssh host.example ${singleQuoted(text)}`,
];
const levels = (count: number) =>
  fc.array(fc.constantFrom(...wrappers), { minLength: count, maxLength: count });
const wrap = (text: string, layers: readonly ((text: string) => string)[]): string =>
  layers.reduce((inner, layer) => layer(inner), text);

it('finds a command again behind up to five wrappers', () => {
  const upToFive = fc.nat(5).chain(levels);
  fc.assert(
    fc.property(written, upToFive, (one, layers) => {
      const text = wrap(one.text, layers);
      // Quotes of quotes grow fivefold a level; a longer argument is clipped, which makes the call opaque.
      fc.pre(text.length <= 4096);
      has(text, one);
    }),
  );
});

it('is opaque behind six', () => {
  fc.assert(
    fc.property(written, levels(6), (one, layers) => {
      expect(readBash(wrap(one.text, layers)).opaque).toContain('clipped');
    }),
  );
});

const places: readonly ((text: string) => string)[] = [
  (text) => `a | ${text} | b`,
  (text) => `a && ${text} || b`,
  (text) => `(a; ${text})`,
  (text) => `{ ${text}; }`,
  (text) => `echo "a $( ${text}) b"`,
  (text) => `cat <(${text})`,
  (text) => `if a; then ${text}; fi`,
  (text) => `for i in a b; do ${text}; done`,
  (text) => `f() { ${text}; }`,
  (text) => `# it's a comment\n\n ${text} # "another\n`,
  (text) => `x=$( ${text})`,
  (text) => `a &\n${text}`,
  (text) => `case x in x) ${text};; esac`,
];

it('finds a command again wherever it stands', () => {
  const nest = fc.array(fc.constantFrom(...places), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(written, nest, (one, layers) => {
      // A comment ends with its line, and so must what stands around it.
      fc.pre(layers.slice(0, -1).every((layer) => !layer('').includes('#')));
      has(wrap(one.text, layers), one);
    }),
  );
});

it('answers for any text, the same each time', () => {
  const soup = fc.array(
    fc.constantFrom(...'$(){}[]<>|&;\'"`\\ \n#=!*?~a0\0\ud800'.split(''), '<<E\n', 'sh -c '),
  );
  const text = fc.oneof(
    soup.map((marks) => marks.join('')),
    fc.string({ unit: 'binary' }),
    fc.string({ unit: 'grapheme' }),
  );
  fc.assert(
    fc.property(text, (command) => {
      const first = readBash(command);
      expect(readBash(command)).toEqual(first);
      for (const part of first.commands) expect(part.via.length).toBeLessThanOrEqual(5);
      readAction({ kind: 'file', path: command, access: 'read' }, plainWorld);
      readAction({ kind: 'fetch', url: command });
    }),
    { numRuns: 400 },
  );
});
