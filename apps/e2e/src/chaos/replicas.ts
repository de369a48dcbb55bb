import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findFreePort, startTcpProxy } from '@kontext/testkit';
import { unlimited } from '../bench/session-world.ts';
import { openDatabase } from '../databases.ts';
import { type BackendProcess, startBackend } from '../programs.ts';
import { startPump } from './kill-backend.ts';
import { type ChaosOptions, type ChaosResult, must } from './scenario.ts';
import { type Stage, startStage, until } from './stage.ts';

/**
 * Two backends on one Postgres behind a proxy that picks one at random. Each is killed in turn: whichever was putting segments
 * into the log, the other goes on, and the log stays one.
 */
export async function killReplicas({ rounds }: ChaosOptions): Promise<ChaosResult> {
  const database = await openDatabase('Postgres');
  const stage = await startStage({ databaseUrl: database.url ?? '', close: database.close });
  const { world } = stage;
  const replicas: Replica[] = [];
  const firstPort = Number(world.recorder?.target.port);
  const secondPort = await findFreePort();
  const proxy = await startTcpProxy(() => [firstPort, secondPort]);
  const close = async (): Promise<void> => {
    await replicas[1]?.process.stop();
    await proxy.close();
  };
  try {
    const env = {
      ...world.home.env,
      ...unlimited,
      KONTEXT_LISTEN: `127.0.0.1:${secondPort}`,
      KONTEXT_PUBLIC_URL: world.apiUrl,
      KONTEXT_DATA_DIR: join(world.home.root, 'backend'),
      DATABASE_URL: database.url ?? '',
      KONTEXT_LOCAL: '1',
    };
    const start = () => startBackend(world.programs.backend, env);
    replicas.push(
      {
        process: world.backend,
        again: async () => {
          await world.restartBackend();
          return world.backend;
        },
      },
      { process: await start(), again: start },
    );
    if (world.recorder) world.recorder.target = new URL(`http://127.0.0.1:${proxy.port}`);
    const streams = await Promise.all([stage.sender.open(), stage.sender.open(), stage.sender.open()]);
    const pump = startPump(streams, 20);
    for (let round = 0; round < rounds; round += 1) {
      const replica = replicas[round % 2] as Replica;
      await sleep(1200);
      const before = await logSize(stage);
      await replica.process.stop('SIGKILL');
      await until('the log goes on with one replica', async () => (await logSize(stage)) > before);
      replica.process = await replica.again();
    }
    const batches = await pump.stop();
    const status = await world.cli(['status', '--json']);
    const { auditTrouble } = JSON.parse(status.stdout) as { auditTrouble: unknown };
    must(auditTrouble === null, `no witness saw two histories: ${JSON.stringify(auditTrouble)}`);
    const used = [firstPort, secondPort].map((port) => proxy.connections.get(port) ?? 0);
    must(
      used.every((count) => count > 0),
      `both replicas were used: ${used.join(' ')}`,
    );
    const figures = { kills: rounds, batches, log: await logSize(stage), connections: used.join('/') };
    return await stage.finish(figures).finally(close);
  } catch (error) {
    await close();
    await stage.close();
    throw error;
  }
}

interface Replica {
  process: BackendProcess;
  readonly again: () => Promise<BackendProcess>;
}

/** Segments under the newest checkpoint, as the witness verified it. */
async function logSize({ world }: Stage): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    const { exitCode, stdout, stderr } = await world.cli(['audit', 'checkpoint', '--json']);
    if (exitCode === 0) return Number((JSON.parse(stdout) as { size: number | string }).size);
    // A connection that was cut is tried again; what a witness says is not.
    if (exitCode !== 69 || attempt === 5) throw new Error(`checkpoint: ${exitCode} ${stderr}`);
    await sleep(200);
  }
}
