import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type DatabaseKind, openDatabase } from '../databases.ts';
import { connectUpstream } from '../demo/steps.ts';
import { runConfirmed } from '../run-confirmed.ts';
import { logIn, startWorld, type World } from '../world.ts';
import { createExchangeClient, type ExchangeClient } from './exchange-client.ts';
import { hasPostgres } from './has-postgres.ts';
import { closeConnections, type PreparedRequest, type Round, runRound } from './load.ts';
import { type BenchRow, makeRateRow, makeRow } from './row.ts';
import { unlimited } from './session-world.ts';

/** Requests of one side in one round. */
const requestsPerRound = 100;
const batch = Array.from({ length: 10 }, (_, n) => `key-${n}`);
const floorName = 'bare Fastify: one signature check, one query, one signature';

/**
 * `exchange/jwt`, `exchange/cached-upstream`, `exchange/static`: token exchanges per second with DPoP, over connections that
 * stay open, against a bare handler on the same kind of database. `exchange/batch-10`: ten placeholders in one call against
 * one. Rows of the embedded database end in `@pglite`.
 */
export async function benchExchange(rounds: number): Promise<readonly BenchRow[]> {
  const onAServer = hasPostgres();
  const onPostgres = onAServer ? await benchOn('Postgres', '', rounds) : [];
  const onPglite = await benchOn('the embedded database', '@pglite', rounds);
  closeConnections();
  return [...onPostgres, ...onPglite];
}

async function benchOn(kind: DatabaseKind, suffix: string, rounds: number): Promise<readonly BenchRow[]> {
  const database = await openDatabase(kind);
  const databaseUrl = database.url === undefined ? {} : { databaseUrl: database.url };
  const world = await startWorld({ ...databaseUrl, backendEnv: unlimited });
  const floor = await startFloor(database.url);
  try {
    await prepareProviders(world);
    const client = await createExchangeClient(world);
    const measured = await runRounds(rounds, client, {
      floor: () => floorRequest(client, floor.url),
      jwt: () => client.exchange({ resource: world.apiUrl }),
      'cached-upstream': () => client.exchange({ audience: 'demo' }),
      static: () => client.exchange({ audience: 'key-0' }),
      one: () => client.resolve(batch.slice(0, 1)),
      'batch-10': () => client.resolve(batch),
    });
    const of = (name: string): readonly Round[] => measured[name] ?? [];
    const samples = (name: string) => ({ wallMs: of(name).flatMap(({ wallMs }) => wallMs), cpuMs: null });
    return [
      ...['jwt', 'cached-upstream', 'static'].map((name) =>
        makeRateRow(`exchange/${name}${suffix}`, of(name), floorName, of('floor')),
      ),
      makeRow(`exchange/batch-10${suffix}`, samples('batch-10'), 'one placeholder', samples('one')),
    ];
  } finally {
    floor.stop();
    await world.close();
    await database.close();
  }
}

/** Ten static keys and a connection to the stand-in upstream, whose token stays good for the whole run. */
async function prepareProviders(world: World): Promise<void> {
  const login = await logIn(world, ['--insecure-storage']);
  if (login.exitCode !== 0) throw new Error(`login failed: ${login.stderr}`);
  await world.upstream?.setSettings({ accessTokenTtlSeconds: 86_400 });
  await connectUpstream(world, () => undefined);
  for (const name of batch) {
    const put = await runConfirmed(world, ['secrets', 'put', name], { stdin: `value-of-${name}-0123456789` });
    if (put.exitCode !== 0) throw new Error(`secrets put failed: ${put.stderr}`);
  }
}

type Sides = Readonly<Record<string, () => PreparedRequest>>;

/** Runs the sides in turn, so that a drifting machine hits all alike; the first round does not count. */
async function runRounds(
  rounds: number,
  client: ExchangeClient,
  sides: Sides,
): Promise<Readonly<Record<string, readonly Round[]>>> {
  const measured: Record<string, Round[]> = {};
  for (let round = 0; round <= rounds; round += 1) {
    await client.keepAlive();
    for (const [name, prepare] of Object.entries(sides)) {
      // What the client has to sign is signed before the clock starts.
      const result = await runRound(Array.from({ length: requestsPerRound }, prepare));
      if (round > 0) measured[name] = [...(measured[name] ?? []), result];
    }
  }
  return measured;
}

const floorRequest = (client: ExchangeClient, url: string): PreparedRequest => ({
  ...client.exchange({ audience: 'floor' }),
  url: `${url}/oauth/token`,
});

function startFloor(databaseUrl: string | undefined): Promise<{ readonly url: string; stop(): void }> {
  const file = fileURLToPath(new URL('./bench-exchange-floor.js', import.meta.url));
  const { DATABASE_URL: _, ...rest } = process.env;
  const env = databaseUrl === undefined ? rest : { ...rest, DATABASE_URL: databaseUrl };
  const child = spawn(process.execPath, [file], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the floor ended with ${code}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const url = /listening on (\S+)/.exec(line)?.[1];
      if (url !== undefined) resolve({ url, stop: () => child.stdin.end() });
    });
  });
}
