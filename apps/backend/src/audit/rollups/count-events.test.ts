import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestOrganisation, type TestOrganisation } from '../../organisations/test-organisation.ts';
import { auditRollups } from '../../store/schema.ts';
import { type TestStore, testStores } from '../../store/test-stores.ts';
import { countFacets, countHistogram } from './count-events.ts';

const hourMs = 3_600_000;
const firstMs = Date.parse('2026-03-01T00:00:00Z');

/** Few values each, so that they meet; empty stands for none. In lower case: collations agree about these. */
const valuesOf = {
  kind: ['session.opened', 'tool_call.decided', 'tool_call.proposed'],
  tool: ['', 'bash', 'read', 'write'],
  decision: ['', 'allow', 'ask', 'deny'],
  mode: ['', 'enforce', 'observe'],
  user: ['', 'usr_a', 'usr_b', 'usr_c'],
  agent: ['', 'claude', 'codex'],
} as const;
type Field = keyof typeof valuesOf;
const fields = Object.keys(valuesOf) as Field[];

type Counted = Readonly<Record<Field, string>> & { readonly hour: number; readonly count: number };
const counted: fc.Arbitrary<Counted> = fc.record({
  ...(Object.fromEntries(
    fields.map((field) => [field, fc.constantFrom(...valuesOf[field])]),
  ) as unknown as Record<Field, fc.Arbitrary<string>>),
  hour: fc.integer({ min: 0, max: 99 }),
  count: fc.integer({ min: 1, max: 5 }),
});
const rollups = fc.uniqueArray(counted, {
  maxLength: 60,
  selector: (row) => [row.hour, ...fields.map((field) => row[field])].join(' '),
});
/** Terms of a query, and which rows they mean. */
const term = fc.constantFrom<readonly [string, (row: Counted) => boolean]>(
  ['kind:tool_call.*', ({ kind }) => kind.startsWith('tool_call.')],
  ['tool:bash', ({ tool }) => tool === 'bash'],
  ['tool:*', ({ tool }) => tool !== ''],
  ['-decision:allow', ({ decision }) => decision !== 'allow'],
  ['mode:observe', ({ mode }) => mode === 'observe'],
  ['-agent:codex', ({ agent }) => agent !== 'codex'],
  ['since:2026-03-02T06:30:00Z', ({ hour }) => hour >= 30],
  ['until:2026-03-03T12:30:00Z', ({ hour }) => hour < 61],
);
const terms = fc.uniqueArray(term, {
  maxLength: 3,
  selector: ([text]) => text.replace(/^-/, '').split(':')[0],
});

/** What a field has to be counted as: the most frequent first, equals in the order of the alphabet. */
function valuesIn(rows: readonly Counted[], field: Field): { value: string; count: number }[] {
  const sums = new Map<string, number>();
  for (const row of rows) {
    if (row[field] !== '') sums.set(row[field], (sums.get(row[field]) ?? 0) + row.count);
  }
  return [...sums]
    .map(([value, count]) => ({ value, count }))
    .sort((a, b) => b.count - a.count || (a.value < b.value ? -1 : 1));
}

function bucketsIn(rows: readonly Counted[], seconds: number) {
  const sums = new Map<number, { count: number; denied: number; asked: number }>();
  for (const { hour, count, decision } of rows) {
    const start = Math.floor((firstMs + hour * hourMs) / 1000 / seconds) * seconds * 1000;
    const sum = sums.get(start) ?? { count: 0, denied: 0, asked: 0 };
    sum.count += count;
    if (decision === 'deny') sum.denied += count;
    if (decision === 'ask') sum.asked += count;
    sums.set(start, sum);
  }
  return [...sums].sort(([a], [b]) => a - b).map(([start, sum]) => ({ start: new Date(start), ...sum }));
}

describe.each(testStores())('counts of roll-ups on $kind', ({ open }) => {
  let opened: TestStore;
  beforeAll(async () => {
    opened = await open();
  });
  afterAll(() => opened?.close());

  /** What is another organisation's is counted tenfold: it would be seen. */
  const store = async (rows: readonly Counted[]): Promise<TestOrganisation> => {
    const [org, other] = [
      await createTestOrganisation(opened.store, new Date()),
      await createTestOrganisation(opened.store, new Date()),
    ];
    const made = [org, other].flatMap(({ orgId }) =>
      rows.map(({ user, hour, count, ...row }) => ({
        ...{ ...row, orgId, userId: user, hour: new Date(firstMs + hour * hourMs) },
        count: orgId === org.orgId ? count : 10 * count,
      })),
    );
    await opened.store.transaction({ role: 'system', orgId: null }, async (tx) => {
      if (made.length > 0) await tx.insert(auditRollups).values(made);
    });
    return org;
  };

  test('facets and spans of time are the sums of the rows that the query means, whatever they are', async () => {
    const deps = { store: opened.store, nowMs: () => firstMs + 200 * hourMs };
    const request = fc.record({
      asked: fc.subarray(fields),
      limit: fc.integer({ min: 1, max: 4 }),
      seconds: fc.constantFrom(1, 5, 24, 1000).map((hours) => hours * 3600),
    });
    await fc.assert(
      fc.asyncProperty(rollups, terms, request, async (rows, said, { asked, limit, seconds }) => {
        const org = await store(rows);
        const query = said.map(([text]) => text).join(' ');
        const meant = rows.filter((row) => said.every(([, matches]) => matches(row)));

        const facets = await countFacets(deps, org.owner, { query, fields: asked, limit });
        const buckets = await countHistogram(deps, org.owner, { query, bucketSeconds: seconds });

        const expected = (asked.length === 0 ? fields : asked).map((field) => {
          const values = valuesIn(meant, field).map((value) => ({ ...value, label: '' }));
          return { field, values: values.slice(0, limit), clipped: values.length > limit };
        });
        expect(facets.counts).toEqual(expected);
        expect(buckets.counts).toEqual(bucketsIn(meant, seconds));
      }),
      { numRuns: 30 },
    );
  });
});
