/** One step of an export: some segments of the log with their events, as lines. */
import { bundleLine, coverLeaves, type deriveColumns, parseVerifierKey, type Segment } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { readNodes } from '../../store/queries/audit-log.ts';
import { type EventFilter, prepareFilter } from '../../store/queries/event-filter.ts';
import {
  type ExportEvent,
  type ExportLeaf,
  measurePayloads,
  readExportLeaves,
  readLeafEvents,
} from '../../store/queries/export-source.ts';
import type { ExportRow } from '../../store/queries/exports.ts';
import type { Tx } from '../../store/tx.ts';
import { parseQuery } from '../search/parse-query.ts';
import { csvHead, csvLine } from './csv.ts';
import type { ExportCursor } from './export-cursor.ts';
import type { ExportLimits } from './export-limits.ts';
import type { ExportWriter } from './export-writer.ts';

/** A step that was written. */
export interface WrittenStep {
  readonly cursor: ExportCursor;
  readonly events: number;
  readonly isLast: boolean;
}

/** What a step works with. */
export interface StepParts {
  readonly row: ExportRow;
  readonly cursor: ExportCursor;
  readonly writer: ExportWriter;
  readonly limits: ExportLimits;
}

/** Writes the next step, in a transaction that reads. */
export async function writeStep(tx: Tx, parts: StepParts): Promise<WrittenStep> {
  const { row, cursor, writer, limits } = parts;
  const { size = 0 } = cursor.log ?? {};
  const filter = row.format === 'csv' ? await filterOf(tx, row) : null;
  const range = { orgId: row.orgId, from: cursor.nextLeaf, size, ...timesOf(filter) };
  const streamIds = filter === null ? cursor.streamIds : filter.streamIds;
  const page = await readExportLeaves(tx, { ...range, streamIds }, limits.stepLeaves);
  const counted = takeFirst(page, page.map(countOf), limits.stepEvents);
  const leaves = row.withoutPayloads
    ? counted
    : takeFirst(counted, await measurePayloads(tx, counted), limits.stepBytes);
  const events = await readLeafEvents(tx, leaves, filter, !row.withoutPayloads);
  const isLast = leaves.length === page.length && page.length < limits.stepLeaves;
  const next = { ...cursor, nextLeaf: (leaves.at(-1)?.leaf ?? size - 1) + 1 };
  if (row.format === 'csv') {
    if (cursor.lines === 0) writer.write(csvHead(!row.withoutPayloads));
    for (const event of events) writer.write(csvLine(event, !row.withoutPayloads));
    return { cursor: { ...next, lines: 1 }, events: events.length, isLast };
  }
  const lines = createLineWriter(tx, { ...parts, cursor: next });
  if (cursor.lines === 0) lines.begin();
  await writeLeaves(lines, leaves, events);
  if (isLast) await lines.finish(row.events + events.length);
  return { cursor: lines.cursor(), events: events.length, isLast };
}

const filterOf = (tx: Tx, { query, orgId, createdAt }: ExportRow): Promise<EventFilter> =>
  prepareFilter(tx, parseQuery(query), { orgId, userId: null, nowMs: createdAt.getTime() });

const timesOf = (filter: EventFilter | null) => ({
  since: filter?.since ?? null,
  until: filter?.until ?? null,
});

const countOf = ({ firstSeq, lastSeq }: ExportLeaf): number => lastSeq - firstSeq + 1;

/** As many leaves as have no more together than wanted; at least one. @param sizes What each has. */
function takeFirst(
  page: readonly ExportLeaf[],
  sizes: readonly number[],
  most: number,
): readonly ExportLeaf[] {
  let sum = 0;
  return page.filter((_leaf, index) => {
    sum += sizes[index] ?? 0;
    return index === 0 || sum <= most;
  });
}

async function writeLeaves(
  lines: LineWriter,
  leaves: readonly ExportLeaf[],
  events: readonly ExportEvent[],
): Promise<void> {
  let at = 0;
  for (const leaf of leaves) {
    await lines.leaf(leaf);
    for (let event = events[at]; event !== undefined && isOf(leaf, event); event = events[at]) {
      lines.event(event);
      at += 1;
    }
    if (!leaf.goesOn) lines.end(leaf);
  }
}

const isOf = ({ stream, firstSeq, lastSeq }: ExportLeaf, { streamId, seq }: ExportEvent): boolean =>
  streamId === stream.id && seq >= firstSeq && seq <= lastSeq;

type LineWriter = ReturnType<typeof createLineWriter>;

/** Writes lines and counts them. */
function createLineWriter(tx: Tx, { row, cursor, writer }: StepParts) {
  const { log } = cursor;
  if (log === null) throw new KontextError('KX_INTERNAL', 'an export without a checkpoint');
  let { lines, streams, segments, skipFrom } = cursor;
  const write = (text: string): void => {
    lines += 1;
    writer.write(text);
  };
  const skipTo = async (leaf: number): Promise<void> => {
    if (leaf > skipFrom)
      write(bundleLine.skip(skipFrom, leaf, await readNodes(tx, row.orgId, coverLeaves(skipFrom, leaf))));
    skipFrom = leaf + 1;
  };
  return {
    cursor: (): ExportCursor => ({ ...cursor, lines, streams, segments, skipFrom }),
    begin(): void {
      write(bundleLine.facts(factsOf(row, cursor, log)));
      write(bundleLine.key(log.key));
      write(bundleLine.checkpoint(log.note));
    },
    async leaf({ leaf, stream, ...rest }: ExportLeaf): Promise<void> {
      await skipTo(leaf);
      if (rest.firstSeq === 1) {
        streams += 1;
        const { id, kind, orgId: org, sessionId: session, nonce } = stream;
        write(bundleLine.stream({ id, kind, org, session, nonce }));
      }
      segments += 1;
      write(bundleLine.segment(leaf, { ...rest, stream: stream.id as Segment['stream'] }));
    },
    event: (event: ExportEvent): void => write(bundleLine.event(toBundleEvent(event))),
    end: ({ stream, lastSeq, head }: ExportLeaf): void =>
      write(bundleLine.end(stream.id, { seq: lastSeq, hash: head })),
    async finish(events: number): Promise<void> {
      await skipTo(log.size);
      writer.write(bundleLine.done({ lines, streams, segments, events, sha256: writer.digest() }));
    },
  };
}

function factsOf(
  row: ExportRow,
  { streamIds }: ExportCursor,
  { size, key }: NonNullable<ExportCursor['log']>,
) {
  const { orgId: org, query, withoutPayloads, createdAt } = row;
  return {
    ...{ org, size, query, payloads: !withoutPayloads, createdAt: createdAt.toISOString() },
    log: parseVerifierKey(key)?.name ?? '',
    scope: streamIds === null ? ('whole' as const) : ('part' as const),
  };
}

const toBundleEvent = (event: ExportEvent): Parameters<typeof bundleLine.event>[0] => {
  const { streamId: stream, seq, header, payload, salt, chain, receivedAt } = event;
  const { eventId, kind, sessionId, userId, tool, decision } = event;
  const columns: ReturnType<typeof deriveColumns> = { eventId, kind, sessionId, userId, tool, decision };
  return { stream, seq, header, payload, salt, chain, receivedAt: receivedAt.toISOString(), columns };
};
