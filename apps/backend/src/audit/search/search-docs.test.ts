import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { formatQuery, parseQuery } from './parse-query.ts';

const page = readFileSync(new URL('../../../../../docs/audit-search.md', import.meta.url), 'utf8');
const rows = page.split('\n').filter((line) => /^\| (`[a-z]+:`|a text)/.test(line));
const examples = rows.flatMap((row) =>
  [...(row.split('|').at(-2) ?? '').matchAll(/`([^`]+)`/g)].map(([, text]) => text ?? ''),
);

test('every field has a row in docs/audit-search.md', () => {
  const fields = rows.map((row) => /`([a-z]+):`/.exec(row)?.[1] ?? 'text').sort();
  expect(fields).toEqual(
    'actor agent decision kind mode provider repo rule session since stream text tool until'.split(' '),
  );
});

test.each(examples)('the example %s can be read, and says what it says', (example) => {
  const query = parseQuery(example);
  expect(parseQuery(formatQuery(query))).toEqual(query);
});

test.each(['actor:"Alice B"', 'tool:"a*"', 'tool:Bash tool:Read', 'tool:*'])(
  'so can %s of its text',
  (example) => {
    expect(page).toContain(`\`${example}\``);
    expect(() => parseQuery(example)).not.toThrow();
  },
);
