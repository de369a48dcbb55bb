import { openDatabase, type StoryDatabase } from '../databases.ts';
import { startWorld, type World } from '../world.ts';
import { hasPostgres } from './has-postgres.ts';
import { closeConnections, sendForJson } from './load.ts';
import { fillStore } from './load-events.ts';
import { type BenchRow, makeTailRow } from './row.ts';
import { unlimited } from './session-world.ts';
import { createWireClient, type WireClient } from './wire-client.ts';

const small = 10_000;
const defaultLarge = 300_000;

/** Lists as the dashboard and the command ask for them. */
const queries: Readonly<Record<string, string>> = {
  newest: '',
  denied: 'decision:deny',
  tool: 'tool:WebFetch since:7d',
  person: 'actor:dev-7 kind:tool_call.decided',
  repository: 'repo:git.example/shop/service-7 decision:deny',
  text: '"shard 988/50" since:1d',
};

/**
 * `query/…`: searches through the whole stack in a store of many events (`--events`, 300,000 when left out), p95 against p95 of
 * the same search in one of 10,000, in turn with it. Goal: 5; none for `query/histogram`, which counts the hours of 30 days by
 * everything a person can ask for. Postgres only.
 */
export async function benchQuery(rounds: number, events: number | null): Promise<readonly BenchRow[]> {
  if (!hasPostgres()) return [];
  const [few, many] = [await openStore(small), await openStore(events ?? defaultLarge)];
  try {
    const rows: BenchRow[] = [];
    for (const [name, query] of Object.entries(queries)) {
      const sides = { few: search(few.client, query), many: search(many.client, query) };
      const histogram = await timeInTurn(rounds, [few.client, many.client], [sides.few, sides.many]);
      rows.push(tailRow(`query/${name}`, histogram));
    }
    const counted = [few, many].map(({ client }) => count(client)) as [
      () => Promise<void>,
      () => Promise<void>,
    ];
    rows.push(tailRow('query/histogram', await timeInTurn(rounds, [few.client, many.client], counted)));
    return rows;
  } finally {
    await few.close();
    await many.close();
    closeConnections();
  }
}

const tailRow = (name: string, [few = [], many = []]: readonly (readonly number[])[]): BenchRow =>
  makeTailRow(name, { wallMs: many, cpuMs: null }, `the same among ${small} events`, {
    wallMs: few,
    cpuMs: null,
  });

interface LoadedStore {
  readonly client: WireClient;
  close(): Promise<void>;
}

async function openStore(events: number): Promise<LoadedStore> {
  const database: StoryDatabase = await openDatabase('Postgres');
  const url = database.url ?? '';
  const world: World = await startWorld({ databaseUrl: url, upstream: false, backendEnv: unlimited });
  await fillStore(url, events);
  const client = await createWireClient(world);
  const close = async (): Promise<void> => {
    await world.close();
    await database.close();
  };
  return { client, close };
}

/** The first two pages: the second shows what a cursor costs. */
const search = (client: WireClient, query: string) => async (): Promise<void> => {
  const page = (pageToken: string) =>
    sendForJson<{ events?: unknown[]; nextPageToken?: string }>(
      client.call('AuditService/SearchEvents', { query, pageSize: 50, pageToken }),
    );
  const first = await page('');
  if ((first.events ?? []).length === 0) throw new Error(`nothing was found by ${query}`);
  if (first.nextPageToken) await page(first.nextPageToken);
};

const count = (client: WireClient) => async (): Promise<void> => {
  const query = 'since:30d';
  await sendForJson(client.call('AuditService/GetEventHistogram', { query, bucketSeconds: 86_400 }));
  await sendForJson(client.call('AuditService/GetEventFacets', { query }));
};

/** @returns Milliseconds of each side's runs; the first round does not count. */
async function timeInTurn(
  rounds: number,
  clients: readonly WireClient[],
  sides: readonly (() => Promise<void>)[],
): Promise<number[][]> {
  const taken: number[][] = sides.map(() => []);
  for (let round = 0; round <= rounds; round += 1) {
    for (const client of clients) await client.keepAlive();
    for (const [at, side] of sides.entries()) {
      const startedAt = performance.now();
      await side();
      if (round > 0) taken[at]?.push(performance.now() - startedAt);
    }
  }
  return taken;
}
