import { parseHeader } from '@kontext/audit';
import { builtPrograms } from '../programs.ts';
import { startPuppet } from '../puppet.ts';
import { createShiftedClock } from '../shifted-clock.ts';
import { type ChaosResult, must } from './scenario.ts';
import { callTool, startStage, until } from './stage.ts';

const dayMs = 86_400_000;

/** The clock of the developer's machine jumps a day ahead, a day back and home again in the middle of a session. */
export async function jumpClock(): Promise<ChaosResult> {
  const stage = await startStage();
  const { world, sender } = stage;
  try {
    const clock = createShiftedClock(world.home.root);
    const [node = '', ...rest] = builtPrograms().kontext;
    const kontext = [node, '--require', clock.preload, ...rest];
    const puppet = await startPuppet({ ...world, programs: { ...world.programs, kontext } });
    const days = [0, 1, -1, 0];
    for (const [at, day] of days.entries()) {
      clock.set(day * dayMs);
      for (let n = 0; n < 3; n += 1) must((await callTool(puppet, `d${at}n${n}`)) === 0, 'calls go on');
      await until(`calls ${at} are sent`, async () =>
        (await sender.readAll()).some(({ header }) => parseHeader(header).toolUse === `toolu_d${at}n2`),
      );
    }
    const { exitCode } = await puppet.end();
    must(exitCode === 0, 'the session ends as ever');
    const calls = (await sender.readAll())
      .map(({ header }) => parseHeader(header))
      .filter(({ kind }) => kind === 'tool_call.decided');
    const order = calls.map(({ toolUse }) => toolUse);
    must(
      order.join() === days.flatMap((_, at) => [0, 1, 2].map((n) => `toolu_d${at}n${n}`)).join(),
      `order is that of the calls: ${order.join(' ')}`,
    );
    const times = calls.map(({ occurredAt }) => Date.parse(occurredAt));
    const widest = (Math.max(...times) - Math.min(...times)) / dayMs;
    must(widest > 1.9, `the clock did jump: ${widest} days`);
    stage.noteCommandAcks();
    return await stage.finish({ calls: calls.length, widestDays: Math.round(widest * 10) / 10 });
  } catch (error) {
    await stage.close();
    throw error;
  }
}
