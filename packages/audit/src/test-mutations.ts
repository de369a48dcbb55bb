import fc from 'fast-check';

const pieces = [
  '"',
  '\\',
  '\\u0041',
  '\\u00e9',
  '\\/',
  '\\n',
  '\\ud83d\\ude00',
  ' ',
  '\n',
  '\t',
  '\0',
  '\ud800',
  '\u2028',
  'é',
  '😀',
];
const others = [
  '0',
  '-0',
  '1.0',
  '1e0',
  '1',
  ',',
  ':',
  '{',
  '}',
  '[',
  ']',
  'null',
  '"v":1,',
  '"":',
  '=',
  'A',
  '',
];

/** Changes to a text in JSON: at most three times some characters give way to others, which another spelling could have. */
export const mutations: fc.Arbitrary<(text: string) => string> = fc
  .array(
    fc.record({
      place: fc.nat(10_000),
      length: fc.nat(3),
      piece: fc.constantFrom(...pieces, ...others),
    }),
    { minLength: 1, maxLength: 3 },
  )
  .map(
    (changes) => (text) =>
      changes.reduce((before, { place, length, piece }) => {
        const at = place % (before.length + 1);
        return before.slice(0, at) + piece + before.slice(at + length);
      }, text),
  );
