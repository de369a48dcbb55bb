import { parseHeader } from '@kontext/audit';
import { startPuppet } from '../puppet.ts';
import { type ChaosOptions, type ChaosResult, must } from './scenario.ts';
import { callTool, startStage, until } from './stage.ts';

/** `kill -9 kontext start` in the middle of calls; the next run sends what was left, orphan intents too. */
export async function killCommand({ rounds }: ChaosOptions): Promise<ChaosResult> {
  const stage = await startStage();
  const { world, sender } = stage;
  try {
    const answered = new Set<string>();
    const agents: number[] = [];
    let blind = 0;
    for (let round = 0; round < rounds; round += 1) {
      const puppet = await startPuppet(world, ['--mode', 'enforce']);
      // Nothing gets out while the calls are made: all of it has to come from the spool.
      const target = world.recorder?.target;
      if (world.recorder && round % 2 === 1) world.recorder.target = new URL('http://127.0.0.1:1');
      for (let n = 0; n < 6; n += 1) {
        const id = `r${round}n${n}`;
        if ((await callTool(puppet, id)) === 0) answered.add(`toolu_${id}`);
      }
      puppet.command.kill('SIGKILL');
      await puppet.command.exited;
      if ((await callTool(puppet, `r${round}blind`)) === 0) blind += 1;
      agents.push(puppet.pid);
      if (world.recorder && target) world.recorder.target = target;
    }
    for (const pid of agents) process.kill(pid);
    const last = await startPuppet(world);
    await until('the spool is replayed', async () => {
      const { stdout } = await world.cli(['status', '--json']);
      return (JSON.parse(stdout) as { spool: { sessions: number } }).spool.sessions === 0;
    });
    await last.end();
    const headers = (await sender.readAll()).map(({ header }) => parseHeader(header));
    const decided = headers.filter(({ kind }) => kind === 'tool_call.decided');
    const missing = [...answered].filter((id) => !decided.some(({ toolUse }) => toolUse === id));
    must(missing.length === 0, `every call that was answered is in the log: ${missing.join(' ')}`);
    must(blind === 0, 'no call of an enforced session runs once its hook server is gone');
    stage.noteCommandAcks();
    const orphans = headers.filter((header) => header.missing === 'payload').length;
    return await stage.finish({ kills: rounds, answered: answered.size, orphans });
  } catch (error) {
    await stage.close();
    throw error;
  }
}
