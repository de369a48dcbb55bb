import { setTimeout as sleep } from 'node:timers/promises';
import { parseHeader } from '@kontext/audit';
import { type NetworkFaults, startTcpProxy } from '@kontext/testkit';
import { startPuppet } from '../puppet.ts';
import { type ChaosOptions, type ChaosResult, must } from './scenario.ts';
import { callTool, startStage, until } from './stage.ts';

/** A bad network between command and backend: calls go on by policy, and everything is sent in the end. */
export async function sufferNetwork(
  fault: Partial<NetworkFaults>,
  { rounds, seconds }: ChaosOptions,
): Promise<ChaosResult> {
  const stage = await startStage();
  const { world, sender } = stage;
  const backendPort = Number(world.recorder?.target.port);
  const proxy = await startTcpProxy(() => [backendPort]);
  const close = async (): Promise<void> => {
    await stage.close();
    await proxy.close();
  };
  try {
    const puppet = await startPuppet(world);
    const direct = world.recorder?.target;
    if (world.recorder) world.recorder.target = new URL(`http://127.0.0.1:${proxy.port}`);
    Object.assign(proxy.faults, fault);
    const ids: string[] = [];
    let slowestMs = 0;
    const end = performance.now() + seconds * 1000;
    for (let n = 0; n < 6 * rounds || performance.now() < end; n += 1) {
      const startedAt = performance.now();
      must((await callTool(puppet, `n${n}`)) === 0, 'calls go on by policy');
      slowestMs = Math.max(slowestMs, performance.now() - startedAt);
      ids.push(`toolu_n${n}`);
      await sleep(50);
    }
    const { stdout } = await world.cli(['status', '--json'], { timeoutMs: 20_000 });
    const waiting = (JSON.parse(stdout || '{}') as { spool?: { events: number } }).spool?.events ?? 0;
    Object.assign(proxy.faults, { lossRate: 0, delayMs: 0, isAway: false });
    if (world.recorder && direct) world.recorder.target = direct;
    await until(
      'everything is sent after',
      async () => {
        const seen = new Set((await sender.readAll()).map(({ header }) => parseHeader(header).toolUse));
        return ids.every((id) => seen.has(id));
      },
      60_000,
    );
    const { exitCode } = await puppet.end();
    must(exitCode === 0, 'the session ends as ever');
    must(fault.isAway !== true || waiting > 0, '`kontext status` shows what waits');
    stage.noteCommandAcks();
    const { cut } = proxy;
    const figures = { calls: ids.length, cut, waiting, slowestCallMs: Math.round(slowestMs) };
    const result = await stage.finish(figures);
    await proxy.close();
    return result;
  } catch (error) {
    await close();
    throw error;
  }
}
