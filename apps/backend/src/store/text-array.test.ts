import { type PostgresCluster, startPostgresCluster } from '@kontext/testkit';
import fc from 'fast-check';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeTextArray } from './text-array.ts';

describe('encodeTextArray', () => {
  let cluster: PostgresCluster;
  let client: pg.Client;
  beforeAll(async () => {
    cluster = await startPostgresCluster();
    client = new pg.Client({ connectionString: (await cluster.createDatabase()).url });
    await client.connect();
  });
  afterAll(async () => {
    await client?.end();
    await cluster?.stop();
  });

  const stored = async (value: unknown) =>
    (await client.query('SELECT $1::text[] AS a, cardinality($1::text[]) AS n', [value])).rows[0];

  it('is read by Postgres as the array it was', async () => {
    const text = fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.string({ unit: fc.constantFrom('"', '\\', '{', '}', ',', ' ', 'NULL', '\n', '€', '😀') }),
      fc.constant(null),
    );
    const withoutNul = text.filter((one) => !one?.includes('\0'));
    await fc.assert(
      fc.asyncProperty(fc.array(withoutNul, { maxLength: 20 }), async (values) => {
        expect(await stored(encodeTextArray(values))).toEqual({ a: values, n: values.length });
      }),
      { numRuns: 200 },
    );
  });

  it('is refused with NUL, and holds the replacement for half a surrogate pair, as texts alone do', async () => {
    await expect(stored(encodeTextArray(['a\0b']))).rejects.toMatchObject({ code: '22021' });
    expect(await stored(encodeTextArray(['\ud800']))).toEqual({ a: ['\ufffd'], n: 1 });
  });

  it('leaves what is no text to the driver', () => {
    expect([encodeTextArray([1]), encodeTextArray(['a', undefined]), encodeTextArray([['a']])]).toEqual([
      null,
      null,
      null,
    ]);
  });
});
