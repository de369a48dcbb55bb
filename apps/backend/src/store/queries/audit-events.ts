/** Events of the audit log as they are read. */
import { and, asc, between, eq, inArray, sql } from 'drizzle-orm';
import { auditEvents, auditPayloads, auditStreams, sessions, users } from '../schema.ts';
import type { Tx } from '../tx.ts';
import { listStreamDays } from './audit-streams.ts';

/** An event as read, with the columns that were derived from its header. */
export interface EventRow {
  readonly streamId: string;
  readonly seq: number;
  readonly header: string;
  readonly payload: string | null;
  readonly salt: Buffer | null;
  readonly chain: Buffer;
  readonly receivedAt: Date;
  readonly eventId: string;
  readonly kind: string;
  readonly sessionId: string | null;
  readonly userId: string | null;
  readonly tool: string | null;
  readonly decision: string | null;
  readonly userName: string | null;
  readonly late: boolean;
  /** Of the session, as its command said it; null outside of sessions. */
  readonly repository: string | null;
  /** Null without payload. */
  readonly retentionClass: string | null;
}

/** Where an event stands. */
export interface EventPlace {
  readonly streamId: string;
  readonly seq: number;
  /** `YYYY-MM-DD`: the partition it is in. */
  readonly partDay: string;
}

/**
 * Where events stand that bear an id; in no order. Of each partition of the days one place of one index is looked at.
 *
 * @param owner Only those of this person's sessions, and of the organisation's own stream those about them; null: all.
 * @param days First and last day of the partitions, `YYYY-MM-DD`. Every partition of a statement takes locks, whatever is in
 *   it, so they must be few.
 */
export async function findEventPlaces(
  tx: Tx,
  {
    orgId,
    owner,
    eventId,
  }: { readonly orgId: string; readonly owner: string | null; readonly eventId: string },
  days: { readonly first: string; readonly last: string },
  limit: number,
): Promise<(EventPlace & { readonly receivedAt: Date })[]> {
  const { streamId, seq, partDay, receivedAt } = auditEvents;
  return tx
    .select({ streamId, seq, partDay, receivedAt })
    .from(auditEvents)
    .innerJoin(auditStreams, eq(auditStreams.id, streamId))
    .where(
      and(
        ...[between(partDay, days.first, days.last), eq(auditEvents.orgId, orgId)],
        eq(auditEvents.eventId, eventId),
        owner === null ? undefined : sql`coalesce(${auditStreams.userId}, ${auditEvents.userId}) = ${owner}`,
      ),
    )
    .limit(limit);
}

/** Stored chain values of some seqs of a stream. */
export async function readChains(
  tx: Tx,
  streamId: string,
  fromSeq: number,
  toSeq: number,
): Promise<Map<number, Buffer>> {
  const found = new Map<number, Buffer>();
  for (const part of await partsOf(tx, streamId, fromSeq, toSeq)) {
    const rows = await tx
      .select({ seq: auditEvents.seq, chain: auditEvents.chain })
      .from(auditEvents)
      .where(inPart(streamId, part));
    for (const row of rows) found.set(row.seq, row.chain);
  }
  return found;
}

/**
 * Events of a stream in order of seq, with their payloads where these are kept.
 *
 * @param limit Most events wanted, 1 to 1,000.
 */
export async function readEvents(
  tx: Tx,
  streamId: string,
  fromSeq: number,
  limit: number,
): Promise<EventRow[]> {
  const found: EventRow[] = [];
  for (const part of await partsOf(tx, streamId, fromSeq, fromSeq + limit - 1)) {
    const rows = await selectEvents(tx).where(inPart(streamId, part)).orderBy(asc(auditEvents.seq));
    found.push(...rows);
  }
  return found;
}

interface Part {
  readonly partDay: string;
  readonly fromSeq: number;
  readonly toSeq: number;
}

/** Where seqs of a stream lie: one partition a day, so that each read goes down one index. */
async function partsOf(tx: Tx, streamId: string, fromSeq: number, toSeq: number): Promise<Part[]> {
  const days = await listStreamDays(tx, [streamId]);
  return days
    .map((day, index) => ({
      partDay: day.partDay,
      fromSeq: Math.max(day.firstSeq, fromSeq),
      toSeq: Math.min((days[index + 1]?.firstSeq ?? Number.MAX_SAFE_INTEGER) - 1, toSeq),
    }))
    .filter((part) => part.fromSeq <= part.toSeq);
}

const inPart = (streamId: string, part: Part) =>
  and(
    eq(auditEvents.partDay, part.partDay),
    eq(auditEvents.streamId, streamId),
    between(auditEvents.seq, part.fromSeq, part.toSeq),
  );

/**
 * The payload of an event, to be joined laterally on `true`; there is none when it was never recorded, or was erased.
 *
 * One look in one index for each event: as a plain join the planner reads all payloads there are when it fears many partitions.
 *
 * @param days Days of the partitions the events are in, `YYYY-MM-DD`; left out: locks are taken of every partition there is.
 */
export const payloadOf = (tx: Tx, days?: readonly string[]) =>
  tx
    .select({
      payload: auditPayloads.payload,
      salt: auditPayloads.salt,
      retentionClass: auditPayloads.retentionClass,
    })
    .from(auditPayloads)
    .where(
      and(
        eq(auditPayloads.partDay, auditEvents.partDay),
        eq(auditPayloads.streamId, auditEvents.streamId),
        eq(auditPayloads.seq, auditEvents.seq),
        days && inArray(auditPayloads.partDay, [...days]),
      ),
    )
    .limit(1)
    .as('its_payload');

const eventColumns = {
  streamId: auditEvents.streamId,
  seq: auditEvents.seq,
  header: auditEvents.header,
  chain: auditEvents.chain,
  receivedAt: auditEvents.receivedAt,
  eventId: auditEvents.eventId,
  kind: auditEvents.kind,
  sessionId: auditEvents.sessionId,
  userId: auditEvents.userId,
  tool: auditEvents.tool,
  decision: auditEvents.decision,
  userName: users.name,
  late: auditEvents.late,
  repository: sessions.repository,
};

/**
 * Selects events as they are read, with what belongs to them; add which and in which order.
 *
 * @param days Days of the partitions they are in, `YYYY-MM-DD`, when the events are not chosen by one.
 */
export const selectEvents = (tx: Tx, days?: readonly string[]) => {
  const its = payloadOf(tx, days);
  return tx
    .select({ ...eventColumns, payload: its.payload, salt: its.salt, retentionClass: its.retentionClass })
    .from(auditEvents)
    .leftJoinLateral(its, sql`true`)
    .leftJoin(users, eq(users.id, auditEvents.userId))
    .leftJoin(sessions, eq(sessions.id, auditEvents.sessionId))
    .$dynamic();
};
