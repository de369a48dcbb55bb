import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { scratchHome } from '@kontext/testkit';
import { type DatabaseKind, openDatabase, type StoryDatabase } from '../databases.ts';
import { copyPreparedData } from '../prepared-data.ts';
import { startWorld, type World } from '../world.ts';
import { type BenchStream, openBenchStream, sendBatch } from './audit-batches.ts';
import { hasPostgres } from './has-postgres.ts';
import { closeConnections, type Round, runLanes } from './load.ts';
import { fillStore } from './load-events.ts';
import { copyOnPostgres, type RawInsert, unnestOnPglite, unnestOnPostgres } from './raw-insert.ts';
import { type BenchRow, makeRateRow } from './row.ts';
import { unlimited } from './session-world.ts';
import { createWireClient, type WireClient } from './wire-client.ts';

const clients = 16;
/** Events of a batch, and batches of each client in one round: enough for a backend that has just started to get warm. */
const shapes = [
  [1, 40],
  [50, 20],
  [500, 4],
] as const;

type Side = 'kontext' | 'unnest' | 'COPY';

/**
 * `ingest/batch-1`, `-50`, `-500`: events per second from 16 clients through the whole stack (Connect, access token and DPoP,
 * checking the chain, insert, ack). Floors, in turn with it: the same rows put into the same tables by `unnest`, and on
 * Postgres by COPY, from as many connections. With `--events n` also `ingest/batch-50@n`: into a table that holds so many
 * already, against the raw insert into the same one; flat means a ratio like that of `ingest/batch-50`.
 */
export async function benchIngest(rounds: number, events: number | null): Promise<readonly BenchRow[]> {
  const onAServer = hasPostgres();
  const onPostgres = onAServer ? await benchOn('Postgres', '', rounds) : [];
  const onPglite = await benchOn('the embedded database', '@pglite', rounds);
  const onFull = onAServer && events !== null ? await benchOn('Postgres', `@${events}`, rounds, events) : [];
  closeConnections();
  return [...onPostgres, ...onPglite, ...onFull];
}

async function benchOn(
  kind: DatabaseKind,
  suffix: string,
  rounds: number,
  events = 0,
): Promise<readonly BenchRow[]> {
  const database = await openDatabase(kind);
  const databaseUrl = database.url === undefined ? {} : { databaseUrl: database.url };
  const world = await startWorld({ ...databaseUrl, upstream: false, backendEnv: unlimited });
  if (events > 0) await fillStore(database.url ?? '', events);
  const floors = await openFloors(database);
  try {
    return await runShapes(world, floors.inserts, suffix, rounds);
  } finally {
    await floors.close();
    await world.close();
    await database.close();
  }
}

interface Floors {
  readonly inserts: Readonly<Partial<Record<Side, RawInsert>>>;
  close(): Promise<void>;
}

/** On Postgres the tables of the backend's own database; the embedded one has only one user, so another that is like it. */
async function openFloors({ url }: StoryDatabase): Promise<Floors> {
  if (url !== undefined) {
    const [unnest, copy] = [unnestOnPostgres(url, clients), copyOnPostgres(url, clients)];
    const close = async (): Promise<void> => void (await Promise.all([unnest.close(), copy.close()]));
    return { inserts: { unnest, COPY: copy }, close };
  }
  const home = scratchHome();
  await copyPreparedData(home.root);
  const unnest = await unnestOnPglite(join(home.root, 'backend/db'));
  const close = async (): Promise<void> => {
    await unnest.close();
    rmSync(home.root, { recursive: true, force: true });
  };
  return { inserts: { unnest }, close };
}

async function runShapes(
  world: World,
  inserts: Floors['inserts'],
  suffix: string,
  rounds: number,
): Promise<readonly BenchRow[]> {
  const client = await createWireClient(world);
  const streams: BenchStream[] = [];
  for (let n = 0; n < clients; n += 1) streams.push(await openBenchStream(client));
  const rows: BenchRow[] = [];
  for (const [size, batches] of shapes) {
    const measured = await runRounds(rounds, client, streams, inserts, size, batches);
    for (const [floor, name] of [
      ['unnest', ''],
      ['COPY', ':copy'],
    ] as const) {
      if (measured[floor] === undefined) continue;
      const row = `ingest/batch-${size}${name}${suffix}`;
      rows.push(makeRateRow(row, measured.kontext ?? [], `${floor} of the same rows`, measured[floor]));
    }
  }
  return rows;
}

/** Runs the sides in turn, so that a drifting machine hits all alike; the first round does not count. */
async function runRounds(
  rounds: number,
  client: WireClient,
  streams: readonly BenchStream[],
  inserts: Floors['inserts'],
  size: number,
  batches: number,
): Promise<Partial<Record<Side, Round[]>>> {
  const measured: Partial<Record<Side, Round[]>> = {};
  for (let round = 0; round <= rounds; round += 1) {
    await client.keepAlive();
    for (const stream of streams) await stream.keepAlive();
    const written = streams.map((stream) => Array.from({ length: batches }, () => stream.write(size)));
    const sides: Partial<Record<Side, (() => Promise<unknown>)[][]>> = {
      kontext: written.map((lane, at) =>
        lane.map((events) => {
          const request = streams[at]?.append(events);
          return async () => request && sendBatch(request);
        }),
      ),
    };
    for (const [side, insert] of Object.entries(inserts)) {
      sides[side as Side] = written.map((lane) => lane.map((events) => insert.prepare(events)));
    }
    for (const [side, lanes] of Object.entries(sides)) {
      const { rate, wallMs } = await runLanes(lanes);
      const events = { rate: rate * size, wallMs };
      if (round > 0) measured[side as Side] = [...(measured[side as Side] ?? []), events];
    }
  }
  return measured;
}
