import { setTimeout as sleep } from 'node:timers/promises';
import { type CrashPostgres, startCrashPostgres } from '@kontext/testkit';
import { startPump } from './kill-backend.ts';
import { type ChaosOptions, type ChaosResult, must } from './scenario.ts';
import { startStage } from './stage.ts';

/** Longest time from Postgres taking connections to the next acknowledgement. */
const recoversWithinMs = 5000;

/** Postgres restarted as an operator does, or killed; under load. */
export async function stopPostgres(how: 'restart' | 'kill', { rounds }: ChaosOptions): Promise<ChaosResult> {
  const postgres = await startCrashPostgres();
  const stage = await startStage({ databaseUrl: postgres.url, close: postgres.stop }).catch(
    async (error: unknown) => {
      await postgres.stop();
      throw error;
    },
  );
  try {
    const streams = await Promise.all([stage.sender.open(), stage.sender.open()]);
    const pump = startPump(streams);
    const pausesMs: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      await sleep(400);
      await takeDown(postgres, how);
      const before = stage.ledger.acknowledged;
      await postgres.start();
      const startedAt = performance.now();
      // What was answered while it went down is not the answer that is waited for.
      while (stage.ledger.acknowledged === before && performance.now() - startedAt < 30_000) await sleep(10);
      pausesMs.push(performance.now() - startedAt);
    }
    const batches = await pump.stop();
    const longest = Math.round(Math.max(...pausesMs));
    must(longest < recoversWithinMs, `events are taken within 5 s after Postgres is back, not ${longest} ms`);
    return await stage.finish({ [`${how}s`]: rounds, batches, longestPauseMs: longest });
  } catch (error) {
    await stage.close();
    throw error;
  }
}

async function takeDown(postgres: CrashPostgres, how: 'restart' | 'kill'): Promise<void> {
  if (how === 'kill') postgres.kill();
  else await postgres.shutDown();
  // Its children follow; an answer of theirs may still be on its way.
  await sleep(200);
}
