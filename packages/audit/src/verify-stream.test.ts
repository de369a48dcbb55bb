import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type ChainedEvent,
  createId,
  createStreamVerifier,
  createStreamWriter,
  deriveColumns,
  type EventFields,
  encodeHeader,
  firstLink,
  parseHeader,
  type StoredRow,
  type StoredStream,
  verifyStream,
} from './index.ts';

const nonce = randomBytes(32);
const orgId = createId('org');
const streamId = createId('str');
const owner = { session: createId('ses'), user: createId('usr'), agent: 'claude' };

function toRow(event: ChainedEvent): StoredRow {
  return { ...deriveColumns(parseHeader(event.header)), ...event };
}

function writeStream(count: number, fields: Partial<EventFields> = {}) {
  const writer = createStreamWriter({ orgId, streamId, from: { nonce }, owner });
  const rows = Array.from({ length: count }, (_, n) => {
    const call = { tool: 'Bash', toolUse: `toolu_${n}`, decision: 'allow' } as const;
    return toRow(writer.append({ kind: 'tool_call.decided', ...call, ...fields }, `{"n":${n}}`));
  });
  const stream: StoredStream = { orgId, streamId, sessionId: owner.session, nonce, head: writer.head };
  return { rows, stream };
}

const { rows, stream } = writeStream(6);
const changed = (seq: number, change: Partial<StoredRow>): StoredRow[] =>
  rows.map((row) => (row.seq === seq ? { ...row, ...change } : row));
const found = (list: readonly StoredRow[], of = stream) =>
  verifyStream(of, list).findings.map(({ code, seq }) => `${code} ${seq}`);
const flip = (bytes: Uint8Array, at: number, by: number): Buffer => {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(at) ^ by, at);
  return copy;
};

describe('verifyStream', () => {
  it('finds nothing in an untouched stream, an empty one, and one read in pages', () => {
    const none = { ...stream, head: { seq: 0, hash: firstLink(orgId, streamId, nonce) } };
    const paged = createStreamVerifier({ ...stream, head: { seq: 3, hash: rows[2]!.chain } });
    for (const row of rows) paged.add(row);

    expect(verifyStream(stream, rows)).toMatchObject({
      ok: true,
      events: 6,
      code: null,
      exitCode: 0,
      findings: [],
    });
    expect(verifyStream(none, []).ok).toBe(true);
    expect(paged.finish(stream.head).ok).toBe(true);
  });

  it('finds any one byte changed in a header, payload, salt or chain value, at its seq', () => {
    const place = fc.record({
      seq: fc.integer({ min: 1, max: rows.length }),
      part: fc.constantFrom('header' as const, 'payload' as const, 'salt' as const, 'chain' as const),
      at: fc.nat(10_000),
      by: fc.integer({ min: 1, max: 255 }),
    });

    fc.assert(
      fc.property(place, ({ seq, part, at, by }) => {
        const value = rows[seq - 1]![part]!;
        const bytes = Buffer.from(value as string);
        const flipped = flip(bytes, at % bytes.length, by);
        const report = verifyStream(
          stream,
          changed(seq, { [part]: typeof value === 'string' ? flipped.toString('utf8') : flipped }),
        );
        expect(report).toMatchObject({ code: 'KX_AUDIT_ALTERED', exitCode: 15, findingCount: 1 });
        expect(report.findings[0]?.seq).toBe(seq);
      }),
      { numRuns: 1000 },
    );
  });

  it('finds any deleted rows as a gap, or at the end as a truncation', () => {
    for (let seq = 1; seq <= rows.length; seq += 1) {
      const code = seq === rows.length ? 'KX_AUDIT_TRUNCATED' : 'KX_AUDIT_GAP';
      expect(found(rows.filter((row) => row.seq !== seq))).toEqual([`${code} ${seq}`]);
    }
    expect(found(rows.filter(({ seq }) => seq !== 2 && seq !== 3))).toEqual(['KX_AUDIT_GAP 2']);
    expect(found([])).toEqual(['KX_AUDIT_TRUNCATED 1']);
  });

  it('finds any two rows swapped: in their places, in their seqs, in their payloads', () => {
    const pairs = fc.tuple(fc.nat(rows.length - 1), fc.nat(rows.length - 1)).filter(([a, b]) => a < b);

    fc.assert(
      fc.property(pairs, ([a, b]) => {
        const [first, second] = [rows[a]!, rows[b]!];
        const swap = (x: StoredRow, y: StoredRow) => rows.map((row, n) => (n === a ? x : n === b ? y : row));
        const byPlace = swap(second, first);
        const bySeq = swap({ ...second, seq: first.seq }, { ...first, seq: second.seq });
        const byPayload = swap(
          { ...first, payload: second.payload, salt: second.salt },
          { ...second, payload: first.payload, salt: first.salt },
        );
        for (const list of [byPlace, bySeq, byPayload]) expect(verifyStream(stream, list).ok).toBe(false);
        expect(verifyStream(stream, bySeq)).toMatchObject({
          code: 'KX_AUDIT_ALTERED',
          findings: [{ seq: a + 1 }, {}],
        });
        expect(verifyStream(stream, byPayload)).toMatchObject({ code: 'KX_AUDIT_ALTERED' });
      }),
    );
  });

  it('finds a forked batch: another end than the head names, or a seq stored twice', () => {
    const writer = createStreamWriter({
      orgId,
      streamId,
      from: { head: { seq: 4, hash: rows[3]!.chain } },
      owner,
    });
    const forged = [5, 6].map(() => toRow(writer.append({ kind: 'agent.event' })));

    expect(found([...rows.slice(0, 4), ...forged])).toEqual(['KX_AUDIT_FORK 6']);
    expect(found([...rows.slice(0, 5), forged[0]!, rows[5]!])).toEqual(['KX_AUDIT_FORK 5']);
    expect(found([...rows.slice(0, 4), forged[0]!, rows[5]!])).toEqual(['KX_AUDIT_ALTERED 6']);
    expect(verifyStream(stream, [...rows.slice(0, 4), ...forged]).exitCode).toBe(11);
  });

  it('finds a rewritten or shortened end against chain values known from a witness', () => {
    const writer = createStreamWriter({
      orgId,
      streamId,
      from: { head: { seq: 5, hash: rows[4]!.chain } },
      owner,
    });
    const forged = toRow(writer.append({ kind: 'agent.event' }));
    const known = new Map(rows.map((row) => [row.seq, row.chain]));
    const shortened = { ...stream, head: { seq: 4, hash: rows[3]!.chain } };

    expect(
      verifyStream({ ...stream, head: writer.head }, [...rows.slice(0, 5), forged], { known }),
    ).toMatchObject({
      code: 'KX_AUDIT_FORK',
      findings: [{ seq: 6 }],
    });
    expect(verifyStream(shortened, rows.slice(0, 4), { known })).toMatchObject({
      code: 'KX_AUDIT_TRUNCATED',
      exitCode: 13,
      findings: [{ seq: 5 }],
    });
    expect(verifyStream(stream, rows, { known }).ok).toBe(true);
  });

  it('finds a wrong nonce, organisation, stream, session or head', () => {
    expect(found(rows, { ...stream, nonce: randomBytes(32) })).toEqual(['KX_AUDIT_ALTERED 1']);
    expect(verifyStream({ ...stream, orgId: createId('org') }, rows)).toMatchObject({
      exitCode: 15,
      findingCount: 6,
    });
    expect(verifyStream({ ...stream, streamId: createId('str') }, rows).exitCode).toBe(15);
    expect(verifyStream({ ...stream, sessionId: createId('ses') }, rows).exitCode).toBe(15);
    expect(found(rows, { ...stream, head: { seq: 6, hash: randomBytes(32) } })).toEqual(['KX_AUDIT_FORK 6']);
    expect(found(rows, { ...stream, head: { seq: 5, hash: rows[4]!.chain } })).toEqual([
      'KX_AUDIT_ALTERED 6',
    ]);
    expect(found([], { ...stream, head: { seq: 0, hash: randomBytes(32) } })).toEqual(['KX_AUDIT_ALTERED 0']);
  });

  it.each(['eventId', 'kind', 'sessionId', 'userId', 'tool', 'decision'] as const)(
    'finds a column %s that does not follow from the header',
    (column) => {
      const report = verifyStream(stream, changed(2, { [column]: 'other' }));

      expect(report).toMatchObject({ code: 'KX_AUDIT_ALTERED', findings: [{ seq: 2 }], findingCount: 1 });
      expect(report.findings[0]?.sentence).toContain(column);
      expect(found(changed(2, { [column]: null }))).toEqual(['KX_AUDIT_ALTERED 2']);
    },
  );

  it('takes an empty column for an absent value', () => {
    const plain = writeStream(1, { tool: null, decision: null });

    expect(verifyStream(plain.stream, [{ ...plain.rows[0]!, tool: '', decision: '' }]).ok).toBe(true);
  });

  it('counts a withheld payload and an event without its payload, and calls neither wrong', () => {
    const lost = writeStream(0);
    const writer = createStreamWriter({ orgId, streamId, from: { nonce }, owner });
    const orphan = toRow(writer.append({ kind: 'tool_call.decided', missing: 'payload' }));

    const report = verifyStream(stream, changed(3, { payload: null, salt: Buffer.alloc(0) }));

    expect(report).toMatchObject({ ok: true, withheld: [3], missing: [] });
    expect(verifyStream({ ...lost.stream, head: writer.head }, [orphan])).toMatchObject({
      ok: true,
      missing: [1],
    });
  });

  it('finds a payload without salt, and one the header does not name', () => {
    const writer = createStreamWriter({ orgId, streamId, from: { nonce }, owner });
    const bare = toRow(writer.append({ kind: 'agent.event' }));
    const added = { ...bare, payload: '{}', salt: randomBytes(16) };

    expect(found(changed(1, { salt: null }))).toEqual(['KX_AUDIT_ALTERED 1']);
    expect(found([added], { ...stream, head: writer.head })).toEqual(['KX_AUDIT_ALTERED 1']);
  });

  it('finds a header rewritten with its hash, when the chain after it was not', () => {
    const header = encodeHeader({ ...parseHeader(rows[2]!.header), decision: 'deny' });
    const writer = createStreamWriter({
      orgId,
      streamId,
      from: { head: { seq: 2, hash: rows[1]!.chain } },
      owner,
    });
    const forged = toRow(writer.append({ kind: 'agent.event' }));

    expect(found(changed(3, { header, decision: 'deny' }))).toEqual(['KX_AUDIT_ALTERED 3']);
    expect(found(changed(3, forged))).toEqual(['KX_AUDIT_ALTERED 4']);
  });

  it('judges the rest of the stream after a finding and answers with the code of the first', () => {
    const broken = changed(5, { tool: 'Read' }).filter(({ seq }) => seq !== 2);

    const report = verifyStream(stream, broken);

    expect(report.findings.map(({ code, seq }) => [code, seq])).toEqual([
      ['KX_AUDIT_GAP', 2],
      ['KX_AUDIT_ALTERED', 5],
    ]);
    expect(report.exitCode).toBe(10);
  });

  it('keeps at most 100 findings and counts all, and never throws', () => {
    const junk: StoredRow = { ...rows[0]!, header: 'x', chain: Buffer.alloc(3) };
    const list = Array.from({ length: 500 }, (_, n) => ({ ...junk, seq: n % 5 === 0 ? 1 : n }));

    const report = verifyStream(stream, list);

    expect(report.findings).toHaveLength(100);
    expect(report.findingCount).toBeGreaterThan(500);
  });
});
