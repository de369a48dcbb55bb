/** Sessions. */
import { and, asc, desc, eq, isNull, lt, ne, type SQL, sql } from 'drizzle-orm';
import { leases, sessions, users } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** A session as stored. */
export type SessionRow = typeof sessions.$inferSelect;

/** A session with the name its user is shown by. */
export interface NamedSession {
  readonly session: SessionRow;
  readonly userName: string;
  readonly liveLeases: number;
}

/** Makes a session. */
export async function insertSession(
  tx: Tx,
  session: typeof sessions.$inferInsert,
): Promise<SessionRow | null> {
  const [row] = await tx.insert(sessions).values(session).returning();
  return row ?? null;
}

/** A session by id. */
export async function findSession(tx: Tx, id: string): Promise<NamedSession | null> {
  const [row] = await named(tx).where(eq(sessions.id, id)).limit(1);
  return row ?? null;
}

/** A session by id, locked until the transaction ends. */
export async function lockSession(tx: Tx, id: string): Promise<SessionRow | null> {
  const [row] = await tx.select().from(sessions).where(eq(sessions.id, id)).limit(1).for('update');
  return row ?? null;
}

/** Which sessions to end. `grantIdHash`: those a login opened, by the hash its grant is stored under. */
export type SessionFilter =
  | { readonly sessionId: string }
  | { readonly userId: string }
  | { readonly agentId: string }
  | { readonly grantIdHash: string };

/** Sessions that have not ended, lost ones too, locked until the transaction ends; oldest first. */
export async function lockOpenSessions(tx: Tx, filter: SessionFilter): Promise<SessionRow[]> {
  return tx
    .select()
    .from(sessions)
    .where(and(matches(filter), ne(sessions.state, 'ended')))
    .orderBy(asc(sessions.id))
    .for('update');
}

/** The hash as `hashOidcId('Grant', …)` makes it: a session keeps the grant's id, a login only its hash. */
const hashOfGrant = sql<string>`rtrim(translate(encode(sha256(convert_to('Grant:' || ${sessions.loginGrantId}, 'UTF8')), 'base64'), '+/', '-_'), '=')`;

function matches(filter: SessionFilter): SQL {
  if ('sessionId' in filter) return eq(sessions.id, filter.sessionId);
  if ('userId' in filter) return eq(sessions.userId, filter.userId);
  if ('agentId' in filter) return eq(sessions.agentId, filter.agentId);
  return eq(hashOfGrant, filter.grantIdHash);
}

/** Sessions, newest first, before an id; of one user or, with null, of all. `live` leaves out those that ended or are lost. */
export async function listSessions(
  tx: Tx,
  { userId, live }: { readonly userId: string | null; readonly live: boolean },
  page: { readonly before: string | null; readonly limit: number },
): Promise<NamedSession[]> {
  return named(tx)
    .where(
      and(
        userId === null ? undefined : eq(sessions.userId, userId),
        live ? eq(sessions.state, 'live') : undefined,
        page.before === null ? undefined : lt(sessions.id, page.before),
      ),
    )
    .orderBy(desc(sessions.id))
    .limit(page.limit);
}

/** Changes some columns of a session. */
export async function updateSession(
  tx: Tx,
  id: string,
  change: Partial<
    Pick<
      SessionRow,
      'state' | 'lastHeartbeatAt' | 'hookConfigHash' | 'hooksSeenAt' | 'endedAt' | 'exitCode' | 'endReason'
    >
  >,
): Promise<void> {
  await tx.update(sessions).set(change).where(eq(sessions.id, id));
}

/** Notes when tampering was first seen. */
export async function markTampered(tx: Tx, id: string, at: Date): Promise<void> {
  await tx
    .update(sessions)
    .set({ tamperedAt: at })
    .where(and(eq(sessions.id, id), isNull(sessions.tamperedAt)));
}

/** Live sessions whose last sign of life is older than an instant; role `system`. */
export async function listSilentSessions(
  tx: Tx,
  before: Date,
  limit: number,
): Promise<{ id: string; orgId: string }[]> {
  return tx
    .select({ id: sessions.id, orgId: sessions.orgId })
    .from(sessions)
    .where(and(eq(sessions.state, 'live'), lt(sessions.lastHeartbeatAt, before)))
    .orderBy(asc(sessions.lastHeartbeatAt))
    .limit(limit);
}

const named = (tx: Tx) =>
  tx
    .select({
      session: sessions,
      userName: users.name,
      liveLeases: sql<number>`(SELECT count(*)::int FROM ${leases} WHERE ${leases.sessionId} = ${sessions.id} AND ${leases.state} = 'active')`,
    })
    .from(sessions)
    .innerJoin(users, eq(users.id, sessions.userId))
    .$dynamic();
