import { setTimeout as sleep } from 'node:timers/promises';
import { openDatabase } from '../databases.ts';
import type { ChaosOptions, ChaosResult } from './scenario.ts';
import type { ChaosStream } from './sender.ts';
import { type Stage, startStage } from './stage.ts';

const batchEvents = 25;
const senders = 4;

/** `kill -9` while batches are under way, again and again; each is sent until it is acknowledged. */
export async function killBackend(
  kind: 'the embedded database' | 'Postgres',
  { rounds }: ChaosOptions,
): Promise<ChaosResult> {
  const database = await openDatabase(kind);
  const stage = await startStage({
    close: database.close,
    ...(database.url === undefined ? {} : { databaseUrl: database.url }),
  });
  try {
    const streams = await Promise.all(Array.from({ length: senders }, () => stage.sender.open()));
    const pump = startPump(streams);
    const pausesMs: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      await sleep(150 + Math.random() * 200);
      pausesMs.push(await killOnce(stage));
    }
    const batches = await pump.stop();
    return await stage.finish({ kills: rounds, batches, longestPauseMs: Math.round(Math.max(...pausesMs)) });
  } catch (error) {
    await stage.close();
    throw error;
  }
}

/** @returns Milliseconds from the start of the new process to the next acknowledgement. */
async function killOnce({ world, ledger }: Stage): Promise<number> {
  await world.backend.stop('SIGKILL');
  await world.restartBackend();
  const startedAt = performance.now();
  const before = ledger.acknowledged;
  while (ledger.acknowledged === before) await sleep(10);
  return performance.now() - startedAt;
}

/** Sends on every stream at once, one batch after the other. */
export function startPump(streams: readonly ChaosStream[], eachMs = 0) {
  let isOver = false;
  let batches = 0;
  const work = Promise.all(
    streams.map(async (stream) => {
      while (!isOver) {
        await stream.deliver(stream.write(batchEvents));
        batches += 1;
        if (eachMs > 0) await sleep(eachMs);
      }
    }),
  );
  work.catch(() => undefined);
  return {
    /** Ends after the batch under way. @returns Batches acknowledged. @throws Error when one was not. */
    async stop(): Promise<number> {
      isOver = true;
      await work;
      return batches;
    },
  };
}
