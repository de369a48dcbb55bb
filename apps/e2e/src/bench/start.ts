import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { World } from '../world.ts';
import { findRivals } from './rivals.ts';
import { type BenchRow, interleave, makeRow, type Samples } from './row.ts';
import { pathWithAgent, startSessionWorld } from './session-world.ts';

/**
 * `start/3-placeholders`: from spawn to the agent's first instruction, logged in, backend on loopback.
 * Floor: an empty Node process that makes one HTTP round trip to the same backend. The rows of other tools that put
 * variables into a child's environment read a plain file and talk to nobody; they are there for scale.
 */
export async function benchStart(rounds: number): Promise<readonly BenchRow[]> {
  const world = await startSessionWorld();
  try {
    const firstInstruction = stampedRun(world);
    const ask = `require('http').get('${world.apiUrl}/healthz',(r)=>{r.resume()}).on('close',()=>process.exit(0))`;
    const rivals = await findRivals(world.home.root);
    const samples = interleave(rounds, {
      floor: () => exitTime(process.execPath, ['-e', ask], world),
      start: () => firstInstruction([...world.programs.kontext, 'start', '--agent', 'claude', '--trust']),
      ...Object.fromEntries(
        rivals.map((rival) => [rival.name, () => firstInstruction([...rival.command, 'claude'], rival.cwd)]),
      ),
    });
    const of = (name: string): Samples => samples[name] ?? { wallMs: [], cpuMs: null };
    const floorName = 'node + one HTTP round trip';
    return [
      makeRow('start/3-placeholders', of('start'), floorName, of('floor')),
      ...rivals.map((rival) => makeRow(`start/${rival.name}`, of(rival.name), floorName, of('floor'))),
    ];
  } finally {
    await world.close();
  }
}

function exitTime(file: string, args: readonly string[], world: World): number {
  const startedAt = performance.now();
  const { status } = spawnSync(file, args, { env: world.env, stdio: 'ignore' });
  if (status !== 0) throw new Error(`${file} ended with ${status}`);
  return performance.now() - startedAt;
}

/** Runs a command whose child `claude` notes the time of its first instruction; gives the time from spawn to there. */
function stampedRun(world: World): (command: readonly string[], cwd?: string) => number {
  const stamp = join(world.home.root, 'stamp');
  const PATH = pathWithAgent(world, `#!/bin/sh\nexec date +%s%N > '${stamp}'\n`);
  return ([file = '', ...args], cwd = world.home.workDir) => {
    const startedAt = performance.timeOrigin + performance.now();
    const run = spawnSync(file, args, {
      cwd,
      env: { ...world.env, PATH },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    if (run.status !== 0)
      throw new Error(`${file} ${args.join(' ')} ended with ${run.status}: ${run.stderr}`);
    return Number(readFileSync(stamp, 'utf8')) / 1e6 - startedAt;
  };
}
