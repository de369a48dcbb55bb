import { createStreamVerifier, type Finding, type StoredRow } from '@kontext/audit';
import type { StoredEvent, Stream } from '@kontext/protocol';
import { StreamKind } from '@kontext/protocol';
import type { Clients } from '../rpc/clients.ts';

/** What verifying one stream found, as `kontext audit verify --json` prints it. Key set pinned by a test. */
export interface StreamReport {
  readonly streamId: string;
  readonly kind: 'client' | 'server' | 'admin' | 'unknown';
  readonly sessionId: string;
  readonly ok: boolean;
  readonly events: number;
  readonly withheld: number;
  readonly missing: number;
  readonly findings: readonly Finding[];
  readonly findingCount: number;
  /** 0, or 10 to 15 as in the table of exit codes. */
  readonly exitCode: number;
}

const pageSize = 500;

/**
 * Reads raw rows and heads over RPC and verifies them here: nothing the backend says about them is believed.
 *
 * @param sessionId Empty: every stream the caller may see.
 * @param onEnd Told where each stream ends, as the backend lists it.
 * @returns One report per stream; the head is read first, so events that arrive meanwhile do not disturb.
 */
export async function verifyStreams(
  clients: Clients,
  sessionId: string,
  signal: AbortSignal,
  onEnd: (streamId: string, end: { readonly seq: number; readonly hash: Uint8Array }) => void = () =>
    undefined,
): Promise<StreamReport[]> {
  const reports: StreamReport[] = [];
  for (let pageToken = ''; ; ) {
    const page = await clients.audit.listStreams({ sessionId, pageToken, pageSize: 100 }, { signal });
    for (const stream of page.streams) {
      onEnd(stream.id, { seq: Number(stream.headSeq), hash: stream.headHash });
      reports.push(await verifyOne(clients, stream, signal));
    }
    pageToken = page.nextPageToken;
    if (pageToken === '') return reports;
  }
}

async function verifyOne(clients: Clients, stream: Stream, signal: AbortSignal): Promise<StreamReport> {
  const headSeq = Number(stream.headSeq);
  const verifier = createStreamVerifier({
    orgId: stream.orgId,
    streamId: stream.id,
    sessionId: stream.sessionId === '' ? null : stream.sessionId,
    nonce: stream.nonce,
    head: { seq: headSeq, hash: stream.headHash },
  });
  for await (const row of readRows(clients, stream.id, headSeq, signal)) verifier.add(row);
  const report = verifier.finish();
  return {
    streamId: stream.id,
    kind: kindNames[stream.kind] ?? 'unknown',
    sessionId: stream.sessionId,
    ok: report.ok,
    events: report.events,
    withheld: report.withheld.length,
    missing: report.missing.length,
    findings: report.findings,
    findingCount: report.findingCount,
    exitCode: report.exitCode,
  };
}

/** Rows up to the head, page by page. A page that does not move forward ends the stream: the verifier sees the gap. */
async function* readRows(
  clients: Clients,
  streamId: string,
  headSeq: number,
  signal: AbortSignal,
): AsyncGenerator<StoredRow> {
  for (let fromSeq = 1n; ; ) {
    const { events } = await clients.audit.readStream({ streamId, fromSeq, pageSize }, { signal });
    const rows = events.map(toRow).filter(({ seq }) => seq <= headSeq);
    yield* rows;
    const last = events.at(-1)?.event?.seq ?? 0n;
    if (last < fromSeq || last >= BigInt(headSeq)) return;
    fromSeq = last + 1n;
  }
}

const kindNames: Readonly<Partial<Record<StreamKind, StreamReport['kind']>>> = {
  [StreamKind.CLIENT]: 'client',
  [StreamKind.SERVER]: 'server',
  [StreamKind.ADMIN]: 'admin',
};

const toRow = ({ event, ...columns }: StoredEvent): StoredRow => ({
  seq: Number(event?.seq ?? 0),
  header: event?.header ?? '',
  chain: event?.chain ?? new Uint8Array(),
  payload: event?.payload ?? null,
  salt: event?.payload === undefined ? null : event.salt,
  eventId: columns.eventId,
  kind: columns.kind,
  sessionId: columns.sessionId,
  userId: columns.userId,
  tool: columns.tool,
  decision: columns.decision,
});
