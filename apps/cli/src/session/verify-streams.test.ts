import { createRouterTransport } from '@connectrpc/connect';
import { createId, createStreamWriter, deriveColumns, parseHeader } from '@kontext/audit';
import { AuditService, StreamKind } from '@kontext/protocol';
import { describe, expect, it } from 'vitest';
import { createClients } from '../rpc/clients.ts';
import { describeEvent, eventLine } from './describe-event.ts';
import { verifyStreams } from './verify-streams.ts';

const orgId = createId('org');
const sessionId = createId('ses');
const userId = createId('usr');
const nonce = new Uint8Array(32).fill(9);

/** A stream of events as a backend stores it. */
function makeStream(count: number) {
  const streamId = createId('str');
  const owner = { session: sessionId, user: userId, agent: 'claude' };
  const writer = createStreamWriter({ orgId, streamId, from: { nonce }, owner });
  const rows = Array.from({ length: count }, (_, at) => {
    const event = writer.append(
      { kind: 'tool_call.decided', tool: 'Bash', decision: at % 2 ? 'deny' : 'allow', mode: 'observe' },
      JSON.stringify({ call: { command: `echo ${at}` } }),
    );
    const columns = deriveColumns(parseHeader(event.header));
    return {
      event: {
        seq: BigInt(event.seq),
        header: event.header,
        payload: event.payload ?? '',
        salt: new Uint8Array(event.salt ?? []),
        chain: new Uint8Array(event.chain),
      },
      streamId,
      eventId: columns.eventId ?? '',
      kind: columns.kind ?? '',
      sessionId: columns.sessionId ?? '',
      userId: columns.userId ?? '',
      tool: columns.tool ?? '',
      decision: columns.decision ?? '',
      userName: 'dev@example.com',
    };
  });
  const head = { seq: BigInt(writer.head.seq), hash: new Uint8Array(writer.head.hash) };
  return { streamId, rows, head };
}

type Stream = ReturnType<typeof makeStream>;

const verify = (...streams: Stream[]) => {
  const pages: number[] = [];
  const transport = createRouterTransport((router) => {
    router.rpc(AuditService.method.listStreams, ({ pageToken }) => {
      const at = Number(pageToken || 0);
      const stream = streams[at];
      return {
        streams: stream
          ? [
              {
                id: stream.streamId,
                kind: StreamKind.CLIENT,
                orgId,
                sessionId,
                nonce,
                headSeq: stream.head.seq,
                headHash: stream.head.hash,
              },
            ]
          : [],
        nextPageToken: at + 1 < streams.length ? String(at + 1) : '',
      };
    });
    router.rpc(AuditService.method.readStream, ({ streamId, fromSeq, pageSize }) => {
      const rows = streams.find((s) => s.streamId === streamId)?.rows ?? [];
      const events = rows.filter((r) => r.event.seq >= fromSeq).slice(0, pageSize);
      pages.push(events.length);
      return { events };
    });
  });
  return verifyStreams(createClients(transport), sessionId, new AbortController().signal).then((reports) => ({
    reports,
    pages,
  }));
};

describe('audit verify', () => {
  it('reads every page of every stream and finds nothing wrong with good ones', async () => {
    const { reports, pages } = await verify(makeStream(1_203), makeStream(2));
    expect(reports.map(({ ok, events }) => [ok, events])).toEqual([
      [true, 1_203],
      [true, 2],
    ]);
    expect(pages).toEqual([500, 500, 203, 2]);
  });

  it('is not disturbed by events that arrive while it reads', async () => {
    const stream = makeStream(5);
    const older = { seq: 3n, hash: stream.rows[2]!.event.chain };
    expect((await verify({ ...stream, head: older })).reports[0]).toMatchObject({ ok: true, events: 3 });
  });

  it.each([
    [
      'one byte changed',
      (s: Stream) => {
        s.rows[1]!.event.payload = s.rows[1]!.event.payload.replace('echo', 'ecHo');
      },
      15,
    ],
    [
      'one row deleted',
      (s: Stream) => {
        s.rows.splice(1, 1);
      },
      10,
    ],
    [
      'two rows swapped',
      (s: Stream) => {
        const [one, two] = [s.rows[1]!, s.rows[2]!];
        [one.event.header, two.event.header] = [two.event.header, one.event.header];
        [one.event.payload, two.event.payload] = [two.event.payload, one.event.payload];
        [one.event.salt, two.event.salt] = [two.event.salt, one.event.salt];
        [one.event.chain, two.event.chain] = [two.event.chain, one.event.chain];
      },
      15,
    ],
    [
      'the end cut off',
      (s: Stream) => {
        s.rows.pop();
      },
      13,
    ],
    [
      'a column that says something else',
      (s: Stream) => {
        s.rows[1]!.decision = 'allow';
      },
      15,
    ],
    [
      'a forked batch',
      (s: Stream) => {
        const other = makeStream(4).rows;
        s.rows.splice(2, 2, ...other.slice(2));
      },
      11,
    ],
  ])('finds %s', async (_name, tamper, exitCode) => {
    const stream = makeStream(4);
    tamper(stream);
    const { reports } = await verify(stream);
    expect(reports[0]).toMatchObject({ ok: false, kind: 'client' });
    // A fork shows as other bytes when only one of both branches is left to look at.
    expect(exitCode === 11 ? [11, 15] : [exitCode]).toContain(reports[0]!.exitCode);
  });

  it('prints reports with pinned keys', async () => {
    const { reports } = await verify(makeStream(1));
    expect(Object.keys(reports[0]!).sort()).toEqual([
      'events',
      'exitCode',
      'findingCount',
      'findings',
      'kind',
      'missing',
      'ok',
      'sessionId',
      'streamId',
      'withheld',
    ]);
  });
});

describe('audit tail', () => {
  const event = describeEvent({ ...makeStream(2).rows[1]!, late: false } as never);

  it('prints events with pinned keys', () => {
    expect(Object.keys(event).sort()).toEqual([
      'decision',
      'header',
      'id',
      'kind',
      'late',
      'occurredAt',
      'payload',
      'receivedAt',
      'repository',
      'retentionClass',
      'seq',
      'session',
      'streamId',
      'tool',
      'user',
      'userName',
    ]);
  });

  it('shows who, what and the command, and does not call an observed deny a deny', () => {
    expect(eventLine(event)).toContain(
      `dev@example.com  tool_call.decided  Bash  would deny  echo 1  ${sessionId}`,
    );
  });

  it.each(['', '{', 'null', '[]', '{"call":7}'])('stands a payload of %j', (payload) => {
    expect(eventLine({ ...event, payload })).toContain('tool_call.decided');
  });
});
