import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

// On Postgres an array goes out as one of texts (postgres-lane.ts), and nothing else can be made of that but by a second cast.
test('every array among the parameters of our statements is one of texts', () => {
  const folder = new URL('.', import.meta.url);
  const files = readdirSync(folder).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'));
  const casts = files.flatMap((name) => {
    const text = readFileSync(new URL(name, folder), 'utf8');
    return [...text.matchAll(/::(\w+)\[\]/g)].flatMap((cast) =>
      cast[1] === 'text' || text.slice(0, cast.index).endsWith('::text[]') ? [] : [`${name} ${cast[0]}`],
    );
  });
  expect(casts).toEqual(['row-columns.ts ::bigint[]', 'row-columns.ts ::date[]']);
});
