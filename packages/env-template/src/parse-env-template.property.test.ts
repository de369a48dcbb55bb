import { KontextError } from '@kontext/errors';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type EnvTemplate, isRefusedName, parseEnvTemplate, templateFingerprint } from './index.ts';

/** Bytes that come near the grammar, so that the parser gets further than the first line. */
const nearTemplate = fc
  .array(
    fc.oneof(
      {
        weight: 4,
        arbitrary: fc.constantFrom(...['=', '"', "'", '`', '\\', '\n', '\r', '\r\n', ' ', '#', '\t']),
      },
      {
        weight: 4,
        arbitrary: fc.constantFrom(
          ...[
            '{{kontext:',
            '<<kontext:',
            '}}',
            '>>',
            '{{',
            '/',
            '?scope=',
            '&delivery=broker',
            '+',
            'github',
          ],
        ),
      },
      {
        weight: 2,
        arbitrary: fc.constantFrom('A', 'B=', 'export ', 'PATH=', 'A=1\n', '\uFEFF', 'KONTEXT_X='),
      },
      { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 4 }) },
    ),
    { maxLength: 60 },
  )
  .map((pieces) => Buffer.from(pieces.join('')));

const parseOrRefuse = (bytes: Uint8Array): EnvTemplate | undefined => {
  try {
    return parseEnvTemplate(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(KontextError);
    return undefined;
  }
};

const name = fc
  .stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,12}$/)
  .filter((text) => !isRefusedName(text) && text !== 'export');

const placeholder = fc
  .record({
    provider: fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,10}$/),
    resource: fc.option(fc.stringMatching(/^[A-Za-z0-9._/@:-]{1,12}$/), { nil: '' }),
    scopes: fc.uniqueArray(fc.stringMatching(/^[a-z:._/]{1,8}$/), { maxLength: 3 }),
    delivery: fc.constantFrom('inject' as const, 'broker' as const),
    spelling: fc.constantFrom(['{{', '}}'] as const, ['<<', '>>'] as const),
  })
  .map(({ spelling: [open, close], ...wanted }) => {
    const query = [
      ...(wanted.scopes.length > 0 ? [`scope=${wanted.scopes.join('+')}`] : []),
      ...(wanted.delivery === 'broker' ? ['delivery=broker'] : []),
    ].join('&');
    const path = wanted.resource === '' ? '' : `/${wanted.resource}`;
    return { wanted, spelled: `${open}kontext:${wanted.provider}${path}${query && `?${query}`}${close}` };
  });

/** Literal text that cannot be taken for a placeholder, together with how a style of quoting writes it. */
const literal = fc
  .string({ unit: 'grapheme', maxLength: 12 })
  .map((text) => text.replace(/[\0\r{}<>]/g, '_'));
const styles = {
  double: (text: string) => text.replace(/["\\]/g, (char) => `\\${char}`).replace(/\n/g, () => '\\n'),
  single: (text: string) => text.replace(/'/g, '_'),
  backquote: (text: string) => text.replace(/`/g, '_'),
  none: (text: string) => text.replace(/["'`#\s]/g, '_'),
};
const quotes = { double: '"', single: "'", backquote: '`', none: '' };

const entry = fc
  .record({
    name,
    pieces: fc.array(fc.oneof(literal, placeholder), { maxLength: 4 }),
    style: fc.constantFrom('double' as const, 'single' as const, 'backquote' as const, 'none' as const),
    exported: fc.boolean(),
    comment: fc.boolean(),
  })
  .map(({ name: variable, pieces, style, exported, comment }) => {
    const written = pieces.map((piece) => (typeof piece === 'string' ? styles[style](piece) : piece.spelled));
    const meant = pieces.map((piece) => {
      if (typeof piece !== 'string') return piece.wanted;
      return style === 'double' ? piece : styles[style](piece);
    });
    const line = `${exported ? 'export ' : ''}${variable}=${quotes[style]}${written.join('')}${quotes[style]}`;
    return { name: variable, line: comment ? `${line} # comment` : line, meant };
  });

/** Neighbouring literals joined and empty ones dropped, as a parser cannot tell where one ended. */
const normalise = (parts: readonly unknown[]): unknown[] => {
  const joined: unknown[] = [];
  for (const part of parts) {
    const last = joined.at(-1);
    if (typeof part === 'string' && typeof last === 'string') joined[joined.length - 1] = last + part;
    else if (part !== '') joined.push(part);
  }
  return joined;
};

describe('parseEnvTemplate', () => {
  it('throws nothing but KontextError, whatever the bytes', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.uint8Array({ maxLength: 200 }), nearTemplate),
        (bytes) => void parseOrRefuse(bytes),
      ),
      {
        numRuns: 2000,
      },
    );
  });

  it('gives every problem and placeholder a place inside the text', () => {
    fc.assert(
      fc.property(nearTemplate, (bytes) => {
        const template = parseOrRefuse(bytes);
        const lines = new TextDecoder().decode(bytes).split(/\r\n?|\n/);
        const refs = template?.entries.flatMap(({ parts }) =>
          parts.filter((part) => typeof part !== 'string'),
        );
        for (const { line, column } of [...(template?.problems ?? []), ...(refs ?? [])]) {
          expect(line).toBeGreaterThanOrEqual(1);
          expect(column).toBeGreaterThanOrEqual(1);
          expect(column).toBeLessThanOrEqual((lines[line - 1]?.length ?? -1) + 1);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('points at the bracket of each placeholder', () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 5 }), (entries) => {
        const text = entries.map(({ line }) => line).join('\n');
        const lines = text.split('\n');
        for (const part of parseEnvTemplate(Buffer.from(text)).entries.flatMap(({ parts }) => parts)) {
          if (typeof part === 'string') continue;
          expect(lines[part.line - 1]?.slice(part.column - 1)).toMatch(/^(\{\{|<<)kontext:/);
        }
      }),
    );
  });

  it('reads back the entries that were written', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(entry, { maxLength: 6, selector: ({ name: variable }) => variable }),
        fc.constantFrom('\n', '\r\n'),
        fc.boolean(),
        (entries, lineEnd, hasMark) => {
          const text = (hasMark ? '\uFEFF' : '') + entries.map(({ line }) => line).join(lineEnd);

          const template = parseEnvTemplate(Buffer.from(text));

          expect(template.problems).toEqual([]);
          expect(template.entries.map((found) => found.name)).toEqual(entries.map((wanted) => wanted.name));
          template.entries.forEach((found, i) => {
            const meant = normalise(entries[i]!.meant);
            expect(normalise(found.parts)).toHaveLength(meant.length);
            expect(normalise(found.parts)).toMatchObject(meant);
          });
        },
      ),
    );
  });

  it('never lets a bad line change its neighbours', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary-ascii', maxLength: 30 }), (junk) => {
        const line = junk.replace(/[\0\r\n"'`]/g, '').replace(/^\s*(export\s+)?(FIRST|LAST)\b/, '');

        const { entries } = parseEnvTemplate(Buffer.from(`FIRST={{kontext:a}}\n${line}\nLAST={{kontext:b}}`));

        const names = entries.map((found) => found.name);
        expect(names[0]).toBe('FIRST');
        expect(names.at(-1)).toBe('LAST');
      }),
    );
  });

  it('sets a name once at most and never a refused one', () => {
    fc.assert(
      fc.property(nearTemplate, (bytes) => {
        const names = parseOrRefuse(bytes)?.entries.map((found) => found.name) ?? [];
        expect(new Set(names).size).toBe(names.length);
        expect(names.filter(isRefusedName)).toEqual([]);
      }),
    );
  });

  it('is deterministic, fingerprint included', () => {
    fc.assert(
      fc.property(nearTemplate, (bytes) => {
        const [one, two] = [parseOrRefuse(bytes), parseOrRefuse(bytes)];
        expect(one).toEqual(two);
        if (one && two) expect(templateFingerprint(one)).toBe(templateFingerprint(two));
      }),
    );
  });
});

describe('hostile repetition', () => {
  const fill = (unit: string) => Buffer.from(unit.repeat(Math.floor(2 ** 20 / unit.length)));

  // Quadratic work on a mebibyte would take minutes, far beyond the time limit of a test.
  it.each([
    ...[
      '"',
      "'",
      '`',
      'A="\n',
      "A='\n",
      'A=`\n',
      'A="\\\n',
      'A="\\"\n',
      'A=\'\nB="\nC=`\n',
      ' ',
      '\t',
      '#',
      '\r',
      '\n',
    ],
    ...[
      'export ',
      'A',
      'A ',
      '{{',
      '{{kontext',
      '{{kontext:',
      '<<kontext:',
      '{{kontext:a',
      'A={{kontext:',
      '}}',
      '\\',
    ],
    ...['A={{ ', 'A=# ', 'A= #', '\n#', '\n ', 'A=" \n'],
  ])('survives a mebibyte of %j', (unit) => {
    parseOrRefuse(fill(unit));
    parseOrRefuse(Buffer.concat([Buffer.from('A='), fill(unit).subarray(2)]));
    parseOrRefuse(Buffer.concat([Buffer.from('A="'), fill(unit).subarray(0, 65_000)]));
  });
});
