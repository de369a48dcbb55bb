/**
 * What a query means in SQL over `audit_events`: parameters only, nothing of a query's text becomes SQL.
 *
 * A negated term holds where the term itself does not, so also where there is no value. Names and repositories compare without
 * case; tools, agents and rules as they are spelled.
 */
import { and, eq, gte, ilike, inArray, like, lt, lte, or, type SQL, sql } from 'drizzle-orm';
import { auditEvents, auditPayloads, auditRefs, auditStreams, leases, sessions, users } from '../schema.ts';
import type { Tx } from '../tx.ts';
import { dayOf } from './audit-streams.ts';
import { type EventQuery, type FieldTerm, toInstant } from './event-query.ts';

/** Whose events are looked at. */
export interface EventScope {
  readonly orgId: string;
  /** Those of this user's sessions; null: of everybody, and of the organisation. */
  readonly userId: string | null;
  /** The instant of the search. */
  readonly nowMs: number;
}

/** A query made ready: the conditions stand on `audit_events`. */
export interface EventFilter {
  readonly scope: EventScope;
  /** What one index answers in order of `received_at`; of a member's events that index is the one by user. */
  readonly indexed: SQL | undefined;
  /** Everything that has to be looked at row by row; not the texts. */
  readonly rest: SQL | undefined;
  /** Texts in payloads, of events received in a span of time. */
  readonly text: ((since: Date | null, until: Date | null) => SQL | undefined) | undefined;
  /** Streams to be read by their key, when the query names some; the order of `received_at` has to be made then. */
  readonly streamIds: readonly string[] | null;
  /** `received_at` is at or after it. */
  readonly since: Date | null;
  /** `received_at` is before it. */
  readonly until: Date | null;
}

const dayMs = 86_400_000;

/**
 * Looks up whom and what the query names, and makes its conditions.
 *
 * @throws Nothing of its own: a name that nobody has matches nothing.
 */
export async function prepareFilter(tx: Tx, query: EventQuery, scope: EventScope): Promise<EventFilter> {
  const actors = await findActors(tx, query, scope.orgId);
  const named = await findNamedStreams(tx, query, scope);
  const conditions = conditionsOf(query, scope, actors);
  const since = query.since && toInstant(query.since, scope.nowMs);
  const until = query.until && toInstant(query.until, scope.nowMs);
  const texts = query.terms.flatMap((term) => (term.field === 'text' ? [term] : []));
  const text = (from: Date | null, to: Date | null) =>
    and(...texts.map(({ value, negated }) => signed(holdsText(value, from, to), negated)));
  return {
    scope,
    indexed: and(eq(auditEvents.orgId, scope.orgId), ...conditions.indexed, named?.condition),
    rest: and(...conditions.rest),
    text: texts.length === 0 ? undefined : text,
    streamIds: named?.streamIds ?? null,
    since: latest(since, named?.from ?? null),
    until: earliest(until, named?.to ?? null),
  };
}

/** All conditions of a filter together, also those on its time. */
export const everyCondition = ({ scope, indexed, rest, text, since, until }: EventFilter): SQL | undefined =>
  and(
    indexed,
    rest,
    text?.(since, until),
    receivedIn(since, until),
    scope.userId === null ? undefined : inStreamOf(scope.userId),
  );

/** In a stream of one of the user's sessions, whoever the event is about. */
export const inStreamOf = (userId: string): SQL =>
  sql`EXISTS (SELECT FROM ${auditStreams} WHERE ${and(
    eq(auditStreams.id, auditEvents.streamId),
    eq(auditStreams.userId, userId),
  )})`;

/**
 * Received at or after, and before; with the parts it can stand in. A part begins at most a day before what it holds is received;
 * another day is for the clocks of replicas.
 */
export const receivedIn = (since: Date | null, until: Date | null): SQL | undefined =>
  and(
    since === null ? undefined : gte(auditEvents.receivedAt, since),
    until === null ? undefined : lt(auditEvents.receivedAt, until),
    inPartsOf(auditEvents.partDay, since, until),
  );

const inPartsOf = (
  partDay: typeof auditEvents.partDay | typeof auditPayloads.partDay,
  since: Date | null,
  until: Date | null,
): SQL | undefined =>
  and(
    since === null ? undefined : gte(partDay, dayOf(new Date(since.getTime() - 2 * dayMs))),
    until === null ? undefined : lte(partDay, dayOf(new Date(until.getTime() + dayMs))),
  );

const latest = (a: Date | null, b: Date | null): Date | null => (a === null || (b !== null && b > a) ? b : a);
const earliest = (a: Date | null, b: Date | null): Date | null =>
  a === null || (b !== null && b < a) ? b : a;

/** Ids of the people each `actor:` stands for. */
export type Actors = ReadonlyMap<FieldTerm, readonly string[]>;

const actorTermsOf = ({ terms }: EventQuery): FieldTerm[] =>
  terms.filter((term): term is FieldTerm => term.field === 'actor');

/** Most people one term can stand for. */
const maxActors = 1000;

/** Ids of the people that each term names. */
export async function findActors(tx: Tx, query: EventQuery, orgId: string): Promise<Actors> {
  const found = new Map<FieldTerm, readonly string[]>();
  for (const term of actorTermsOf(query)) {
    const rows = await tx
      .select({ id: users.id })
      .from(users)
      .where(
        and(
          eq(users.orgId, orgId),
          or(eq(users.id, term.value), sameText(users.name, term), sameText(users.email, term)),
        ),
      )
      .limit(maxActors);
    found.set(
      term,
      rows.map(({ id }) => id),
    );
  }
  return found;
}

type Column = Parameters<typeof ilike>[0];

/** Without case; an ILIKE without wildcards. */
const sameText = (column: Column, { value, prefix }: FieldTerm): SQL =>
  ilike(column, `${escapeLike(value)}${prefix ? '%' : ''}`);

const exactText = (column: Column, { value, prefix }: FieldTerm): SQL =>
  prefix ? like(column, `${escapeLike(value)}%`) : sql`${column} = ${value}`;

/** A text that LIKE takes for nothing but itself. */
export const escapeLike = (text: string): string => text.replace(/[\\%_]/g, '\\$&');

/** A condition, or what does not fulfil it: also where there is no value. */
export const signed = (condition: SQL, negated: boolean): SQL =>
  negated ? sql`(${condition}) IS NOT TRUE` : condition;

/** Which streams the query names, and when they were written; null when it names none. */
async function findNamedStreams(tx: Tx, query: EventQuery, scope: EventScope) {
  const valuesOf = (field: 'session' | 'stream') =>
    query.terms.flatMap((term) => (term.field === field && !term.negated ? [term.value] : []));
  const [sessionIds, streamIds] = [valuesOf('session'), valuesOf('stream')];
  if (sessionIds.length + streamIds.length === 0) return null;
  const rows = await tx
    .select({ id: auditStreams.id, from: auditStreams.createdAt, to: auditStreams.updatedAt })
    .from(auditStreams)
    .where(
      and(
        eq(auditStreams.orgId, scope.orgId),
        scope.userId === null ? undefined : eq(auditStreams.userId, scope.userId),
        sessionIds.length === 0 ? undefined : inArray(auditStreams.sessionId, sessionIds),
        streamIds.length === 0 ? undefined : inArray(auditStreams.id, streamIds),
      ),
    );
  const ids = rows.map(({ id }) => id);
  if (ids.length === 0) return { condition: sql`false`, streamIds: null, from: null, to: null };
  return {
    condition: inArray(auditEvents.streamId, ids),
    streamIds: ids,
    // A day for the clocks of replicas.
    from: new Date(Math.min(...rows.map(({ from }) => from.getTime())) - dayMs),
    to: new Date(Math.max(...rows.map(({ to }) => to.getTime())) + dayMs),
  };
}

/** The condition that an index is best at comes first; one index alone gives the order, so the others are looked at row by row. */
function conditionsOf(query: EventQuery, scope: EventScope, actors: Actors) {
  const groups = new Map<string, FieldTerm[]>();
  const rest: SQL[] = [];
  for (const term of query.terms) {
    if (term.field === 'text' || term.field === 'session' || term.field === 'stream') {
      if (term.negated && term.field !== 'text') rest.push(signed(conditionOf(term, scope, actors), true));
      continue;
    }
    if (term.negated) rest.push(signed(conditionOf(term, scope, actors), true));
    else groups.set(term.field, [...(groups.get(term.field) ?? []), term]);
  }
  const indexed: SQL[] = [];
  const hasIndex = () => indexed.length > 0 || scope.userId !== null;
  for (const [field, terms] of [...groups].sort(([a], [b]) => rankOf(a) - rankOf(b))) {
    const condition = or(...terms.map((term) => conditionOf(term, scope, actors))) ?? sql`false`;
    const [only, ...more] = terms;
    const usable = only !== undefined && more.length === 0 && isIndexed(field, only, actors);
    if (usable && !hasIndex()) indexed.push(condition);
    else rest.push(condition);
  }
  return { indexed, rest };
}

const indexedFields: readonly string[] = ['actor', 'tool', 'decision'];
const rankOf = (field: string): number =>
  (indexedFields.indexOf(field) + indexedFields.length + 1) % (indexedFields.length + 1);

function isIndexed(field: string, term: FieldTerm, actors: Actors): boolean {
  if (field === 'actor') return (actors.get(term)?.length ?? 0) <= 1;
  return (field === 'tool' && !term.prefix) || (field === 'decision' && term.value === 'deny');
}

function conditionOf(term: FieldTerm, scope: EventScope, actors: Actors): SQL {
  switch (term.field) {
    case 'actor':
      return userIn(actors.get(term) ?? []);
    case 'agent':
      return exactText(auditEvents.agent, term);
    case 'kind':
      return exactText(auditEvents.kind, term);
    case 'rule':
      return exactText(auditEvents.rule, term);
    case 'tool':
      return exactText(auditEvents.tool, term);
    case 'decision':
      // Written out, for the index of denied calls.
      return term.value === 'deny'
        ? sql`${auditEvents.decision} = 'deny'`
        : eq(auditEvents.decision, term.value);
    case 'mode':
      return sql`${auditEvents.header} LIKE ${`%"mode":"${term.value}","occurredAt":"%`}`;
    case 'session':
      return eq(auditEvents.sessionId, term.value);
    case 'stream':
      return eq(auditEvents.streamId, term.value);
    case 'repo':
      return inRepository(term, scope);
    case 'provider':
      return ofProvider(term.value, scope);
  }
}

function userIn(ids: readonly string[]): SQL {
  const [only, ...more] = ids;
  if (only === undefined) return sql`false`;
  return more.length === 0 ? eq(auditEvents.userId, only) : inArray(auditEvents.userId, [...ids]);
}

/** The whole name, or from one of its parts on: `acme/shop` is `github.com/acme/shop`, too. */
function inRepository(term: FieldTerm, { orgId }: EventScope): SQL {
  const pattern = `${escapeLike(term.value)}${term.prefix ? '%' : ''}`;
  return sql`${auditEvents.sessionId} IN (SELECT ${sessions.id} FROM ${sessions} WHERE ${and(
    eq(sessions.orgId, orgId),
    sql`${sessions.repository} <> ''`,
    or(ilike(sessions.repository, pattern), ilike(sessions.repository, `%/${pattern}`)),
  )})`;
}

/** Events about it by their references, and calls that carried a lease of it. */
function ofProvider(name: string, { orgId }: EventScope): SQL {
  // Inside a text of a header every quote is escaped, so this is found at its one place only.
  const carried = sql`substring(${auditEvents.header} from '"lineage":[{]"leases":\\[[^]]*\\]')`;
  return (
    or(
      sql`EXISTS (SELECT FROM ${auditRefs} WHERE ${and(
        eq(auditRefs.orgId, orgId),
        eq(auditRefs.ref, `provider:${name}`),
        eq(auditRefs.streamId, auditEvents.streamId),
        eq(auditRefs.seq, auditEvents.seq),
      )})`,
      sql`EXISTS (SELECT FROM ${leases} WHERE ${and(
        eq(leases.orgId, orgId),
        eq(leases.sessionId, auditEvents.sessionId),
        eq(leases.provider, name),
        sql`position('"' || ${leases.id} || '"' in ${carried}) > 0`,
      )})`,
    ) ?? sql`false`
  );
}

/**
 * Payloads are JSON: what is searched for may stand there escaped.
 *
 * A value and not EXISTS: of that the planner may make a table of all payloads that hold the text, which is a look at all.
 */
function holdsText(text: string, since: Date | null, until: Date | null): SQL {
  const spellings = [...new Set([text, JSON.stringify(text).slice(1, -1)])];
  const holds = or(...spellings.map((spelling) => ilike(auditPayloads.payload, `%${escapeLike(spelling)}%`)));
  return sql`(SELECT ${holds} FROM ${auditPayloads} WHERE ${and(
    eq(auditPayloads.partDay, auditEvents.partDay),
    eq(auditPayloads.streamId, auditEvents.streamId),
    eq(auditPayloads.seq, auditEvents.seq),
    inPartsOf(auditPayloads.partDay, since, until),
  )} LIMIT 1)`;
}
