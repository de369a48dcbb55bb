import { createId, eventKinds, isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { appendServerEvent, type ServerEvent } from '../audit/append-server-event.ts';
import type { Caller } from '../caller.ts';
import { type RateLimit, refuseBeyond } from '../login/rate-limiter.ts';
import {
  dropOpenDelivery,
  listSinkDeliveries,
  renewOpenDelivery,
  requeueDeadLetters,
  type SinkDeliveryRow,
} from '../store/queries/sink-deliveries.ts';
import { countLeaves, findLeafSince } from '../store/queries/sink-events.ts';
import {
  claimSinks,
  countSinks,
  deleteSink,
  findKeyedSink,
  insertSink,
  type LaggingSink,
  listSinks,
  lockSink,
  type SinkRow,
  updateSink,
} from '../store/queries/sinks.ts';
import { isUniqueViolation } from '../store/store-errors.ts';
import type { Tx } from '../store/tx.ts';
import { findUrlFault } from '../webhooks/check-url.ts';
import type { SenderDeps } from '../webhooks/deps.ts';
import type { Attempt } from '../webhooks/post-signed.ts';
import { createSendPool } from '../webhooks/send-pool.ts';
import { createSigningKey } from '../webhooks/signing-key.ts';
import { testBody } from './build-message.ts';
import { claimMs, send, sendSink } from './send-sink.ts';

export type { LaggingSink };

/** A sink to add. */
export interface NewSink {
  readonly name: string;
  readonly url: string;
  /** Kinds of events, `*` at the end of one matches what follows; empty: all. */
  readonly kinds: readonly string[];
  readonly payloads: boolean;
  /** Begin with what was received since then; null: with the next event. */
  readonly since: Date | null;
}

/** Which messages, newest first. */
export interface DeliveryQuery {
  readonly sinkId: string;
  /** Null: all. */
  readonly state: SinkDeliveryRow['state'] | null;
  /** 1 to 200; 0 means 50. */
  readonly pageSize: number;
  /** Empty: from the newest. */
  readonly cursor: string;
}

/** A page; `next` is null on the last one. */
export interface DeliveryPage {
  readonly deliveries: readonly SinkDeliveryRow[];
  readonly next: string | null;
}

/** What to send again: what was given up, or events since an instant. */
export type Replay = { readonly case: 'dead' } | { readonly case: 'since'; readonly since: Date };

/** Sinks as their edge uses them. Roles and confirmations are checked there. */
export interface SinkService {
  /**
   * Adds a sink.
   *
   * @returns With the signing key, which nobody sees again.
   * @throws KontextError `KX_SINK_INVALID` when name, URL or kinds cannot be used, or there are too many.
   */
  add(caller: Caller, sink: NewSink): Promise<{ readonly sink: LaggingSink; readonly secret: string }>;
  /** Pauses a sink or lets it go on. @throws KontextError `KX_NOT_FOUND`. */
  setState(caller: Caller, id: string, state: 'active' | 'paused' | null): Promise<LaggingSink>;
  /** @throws KontextError `KX_NOT_FOUND`. */
  remove(caller: Caller, id: string): Promise<void>;
  list(caller: Caller): Promise<readonly LaggingSink[]>;
  /** Sends a message of type `ping` at once. @throws KontextError `KX_NOT_FOUND`, `KX_RATE_LIMITED`. */
  test(caller: Caller, id: string): Promise<Attempt>;
  /** @returns How many segments are sent again. @throws KontextError `KX_NOT_FOUND`, `KX_RATE_LIMITED`. */
  replay(caller: Caller, id: string, what: Replay): Promise<number>;
  /** @throws KontextError `KX_NOT_FOUND`, `KX_REQUEST_INVALID`. */
  listDeliveries(caller: Caller, query: DeliveryQuery): Promise<DeliveryPage>;
  /** Starts to send what is due; call it every second. @throws What an earlier run failed with. */
  start(): Promise<void>;
  /** Sends what is due and waits for it. */
  deliver(): Promise<void>;
  /** Waits for what is on its way. */
  close(): Promise<void>;
}

const maxSinks = 10;
const maxKinds = 50;
/** Sinks worked on at once. */
const limits = { total: 50, perOrg: 5, perTarget: 1 } as const;
const testsByUser: RateLimit = { name: 'sink-test', limit: 20, windowSeconds: 600 };
const replaysByUser: RateLimit = { name: 'sink-replay', limit: 20, windowSeconds: 600 };

/** Puts the sinks together. */
export function createSinkService(deps: SenderDeps): SinkService {
  const { store } = deps;
  const pool = createSendPool({
    limits,
    claim: async (free, busy) => {
      const nowMs = deps.nowMs();
      const wanted = { limit: free, busy, perOrg: limits.perOrg };
      const sinks = await store.transaction({ role: 'system', orgId: null }, (tx) =>
        claimSinks(tx, new Date(nowMs), new Date(nowMs + claimMs), wanted),
      );
      return sinks.map((sink) => ({ orgId: sink.orgId, targetId: sink.id, sink }));
    },
    work: ({ sink }) => sendSink(deps, sink),
  });
  return {
    add: (caller, sink) => add(deps, caller, sink),
    setState: (caller, id, state) => setState(deps, caller, id, state),
    remove: (caller, id) => remove(deps, caller, id),
    list: ({ orgId }) => store.transaction({ role: 'read', orgId }, (tx) => listSinks(tx, orgId)),
    test: (caller, id) => test(deps, caller, id),
    replay: (caller, id, what) => replay(deps, caller, id, what),
    listDeliveries: (caller, query) => listDeliveries(deps, caller, query),
    start: async () => void (await pool.start()),
    deliver: () => pool.drain(),
    close: () => pool.close(),
  };
}

async function add(
  deps: SenderDeps,
  { orgId, userId }: Caller,
  wanted: NewSink,
): Promise<{ readonly sink: LaggingSink; readonly secret: string }> {
  const fault = findFault(wanted, deps.local);
  if (fault !== null) throw invalid(fault);
  const now = new Date(deps.nowMs());
  const id = createId('snk', now.getTime());
  const { secret, sealed } = await createSigningKey(deps.kms, { kind: 'sink', id, orgId }, now);
  const { name, url, payloads, since } = wanted;
  const sink: SinkRow = {
    ...{ id, orgId, name, url, kinds: [...new Set(wanted.kinds)], payloads, secretId: sealed.id },
    ...{
      state: 'active',
      nextLeaf: await findStart(deps, orgId, since),
      nextSeq: 0,
      attempts: 0,
      dueAt: now,
    },
    ...{ claimedUntil: null, lastError: '', lastDeliveredAt: null, failingSince: null },
    ...{ createdBy: userId, createdAt: now },
  };
  try {
    await deps.store.transaction({ role: 'app', orgId }, async (tx) => {
      if ((await countSinks(tx, orgId)) >= maxSinks) throw invalid(`an organisation has at most ${maxSinks}`);
      await insertSink(tx, sink, sealed);
      const facts = { ...factsOf(sink), kinds: sink.kinds, payloads, since: since?.toISOString() ?? null };
      await record(tx, sink, { kind: 'sink.added', user: userId, facts }, now);
    });
  } catch (error) {
    throw isUniqueViolation(error) ? invalid('there is one of that name already') : error;
  }
  deps.appended.notify(orgId);
  return { sink: await find(deps, orgId, id), secret };
}

const findStart = (deps: SenderDeps, orgId: string, since: Date | null): Promise<number> =>
  deps.store.transaction({ role: 'read', orgId }, async (tx) => {
    const first = since === null ? null : await findLeafSince(tx, orgId, since);
    return first ?? countLeaves(tx, orgId);
  });

async function setState(
  deps: SenderDeps,
  { orgId, userId }: Caller,
  id: string,
  state: 'active' | 'paused' | null,
): Promise<LaggingSink> {
  const now = new Date(deps.nowMs());
  await deps.store.transaction({ role: 'app', orgId }, async (tx) => {
    const sink = await lockSink(tx, orgId, id);
    if (sink === null) throw noSuchSink();
    if (state === null || state === sink.state) return;
    await updateSink(tx, id, { state, attempts: 0, dueAt: now, failingSince: null });
    if (state === 'active') await renewOpenDelivery(tx, id, now);
    const facts = { ...factsOf(sink), state, before: sink.state };
    await record(tx, sink, { kind: 'sink.changed', user: userId, facts }, now);
  });
  deps.appended.notify(orgId);
  return find(deps, orgId, id);
}

async function remove(deps: SenderDeps, { orgId, userId }: Caller, id: string): Promise<void> {
  const now = new Date(deps.nowMs());
  await deps.store.transaction({ role: 'app', orgId }, async (tx) => {
    const sink = await deleteSink(tx, orgId, id);
    if (sink === null) throw noSuchSink();
    await record(tx, sink, { kind: 'sink.removed', user: userId, facts: factsOf(sink) }, now);
  });
  deps.appended.notify(orgId);
}

async function test(deps: SenderDeps, { orgId, userId }: Caller, id: string): Promise<Attempt> {
  refuseBeyond(await deps.limiter.count(testsByUser, userId), 'sinks were tested too often');
  const keyed = await deps.store.transaction({ role: 'app', orgId }, (tx) => findKeyedSink(tx, orgId, id));
  if (keyed === null) throw noSuchSink();
  const now = new Date(deps.nowMs());
  return send(deps, keyed, createId('skd', now.getTime()), testBody(keyed.sink, now));
}

async function replay(
  deps: SenderDeps,
  { orgId, userId }: Caller,
  id: string,
  what: Replay,
): Promise<number> {
  refuseBeyond(await deps.limiter.count(replaysByUser, userId), 'sinks were replayed too often');
  const now = new Date(deps.nowMs());
  const start = what.case === 'since' ? await findStart(deps, orgId, what.since) : 0;
  const segments = await deps.store.transaction({ role: 'app', orgId }, async (tx) => {
    const sink = await lockSink(tx, orgId, id);
    if (sink === null) throw noSuchSink();
    const again =
      what.case === 'dead' ? await requeueDeadLetters(tx, id, now) : await moveBack(tx, sink, start, now);
    const since = what.case === 'since' ? what.since.toISOString() : null;
    const facts = { ...factsOf(sink), since, deadLetters: what.case === 'dead', segments: again };
    await record(tx, sink, { kind: 'sink.replayed', user: userId, facts }, now);
    return again;
  });
  deps.appended.notify(orgId);
  return segments;
}

/** What is not delivered yet is never skipped: a later instant changes nothing. @returns Segments that are sent again. */
async function moveBack(tx: Tx, sink: SinkRow, start: number, now: Date): Promise<number> {
  if (start > sink.nextLeaf || (start === sink.nextLeaf && sink.nextSeq === 0)) return 0;
  await dropOpenDelivery(tx, sink.id);
  await updateSink(tx, sink.id, { nextLeaf: start, nextSeq: 0, dueAt: now });
  return sink.nextLeaf - start + (sink.nextSeq > 0 ? 1 : 0);
}

async function listDeliveries(
  { store }: SenderDeps,
  { orgId }: Caller,
  { sinkId, state, pageSize, cursor }: DeliveryQuery,
): Promise<DeliveryPage> {
  const limit = pageSize === 0 ? 50 : pageSize;
  if (limit < 1 || limit > 200) throw new KontextError('KX_REQUEST_INVALID', 'page_size must be 1 to 200');
  if (cursor !== '' && !isId('skd', cursor))
    throw new KontextError('KX_REQUEST_INVALID', 'page_token is not one of ours');
  const deliveries = await store.transaction({ role: 'read', orgId }, async (tx) => {
    if ((await listSinks(tx, orgId, sinkId)).length === 0) throw noSuchSink();
    return listSinkDeliveries(tx, sinkId, { state, before: cursor || null, limit });
  });
  return { deliveries, next: deliveries.length < limit ? null : (deliveries.at(-1)?.id ?? null) };
}

async function find({ store }: SenderDeps, orgId: string, id: string): Promise<LaggingSink> {
  const [found] = await store.transaction({ role: 'read', orgId }, (tx) => listSinks(tx, orgId, id));
  if (found === undefined) throw noSuchSink();
  return found;
}

const record = (tx: Tx, { orgId }: SinkRow, event: ServerEvent, now: Date): Promise<unknown> =>
  appendServerEvent(tx, { orgId, sessionId: null }, event, now);

/** A URL can hold a secret: of it the host alone is recorded. */
const factsOf = ({ id, name, url }: SinkRow) => ({ sink: id, name, host: new URL(url).host });

function findFault({ name, url, kinds }: NewSink, local: boolean): string | null {
  if (!/^[a-z0-9][a-z0-9-]{0,63}$/.test(name))
    return 'its name is not made of up to 64 small letters, digits and -';
  if (kinds.length > maxKinds) return `it names more than ${maxKinds} kinds`;
  const other = kinds.find((kind) => !matchesSome(kind));
  if (other !== undefined) return `no event is of the kind ${JSON.stringify(other.slice(0, 80))}`;
  return findUrlFault(url, local);
}

const matchesSome = (kind: string): boolean =>
  eventKinds.some((known) => (kind.endsWith('*') ? known.startsWith(kind.slice(0, -1)) : known === kind));

const invalid = (why: string): KontextError =>
  new KontextError('KX_SINK_INVALID', 'the sink cannot be used', { why });

const noSuchSink = (): KontextError => new KontextError('KX_NOT_FOUND', 'there is no such sink');
