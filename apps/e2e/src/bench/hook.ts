import { mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommand } from '@kontext/testkit';
import { benchHookLoad } from './hook-load.ts';
import { findHookRival } from './rivals.ts';
import { type BenchRow, makeRow, type Samples } from './row.ts';
import { hundredRules } from './rules.ts';
import { pathWithAgent, startSessionWorld } from './session-world.ts';

type AllSamples = Readonly<Record<string, Samples>>;

/**
 * The hook clients, spawn to exit, with the real hook server of a real session deciding by a hundred rules and more.
 *
 * Floors, in turn with them: for the native client a C program that connects, sends the same and waits for the same server's
 * answer; for the twin an empty Node process; `hook/native-cpu` sets its processor time against that of a published hook of
 * another product. Without a compiler the rows of the native client are missing.
 */
export async function benchHook(rounds: number): Promise<readonly BenchRow[]> {
  const world = await startSessionWorld();
  try {
    const policyDir = join(world.env.XDG_CONFIG_HOME ?? '', 'kontext', 'policy');
    mkdirSync(policyDir, { recursive: true });
    writeFileSync(join(policyDir, 'bench.cedar'), hundredRules());
    const agent = fileURLToPath(new URL('./bench-hook-agent.js', import.meta.url));
    const result = join(world.home.root, 'samples.json');
    const twin = join(dirname(realpathSync(world.programs.kontext.at(-1) ?? '')), 'hook.cjs');
    const PATH = pathWithAgent(world, `#!/bin/sh\nexec '${process.execPath}' '${agent}' "$@"\n`);
    const rival = await findHookRival();
    const run = await world.cli(['start', '--agent', 'claude', '--trust', '--', '-p', 'bench'], {
      env: {
        ...{ PATH, BENCH_RESULT: result, BENCH_ROUNDS: String(rounds), BENCH_TWIN: twin },
        BENCH_FLOOR: (await compileFloor(world.home.root)) ?? '',
        BENCH_RIVAL: rival?.script ?? '',
      },
      timeoutMs: 300_000,
    });
    if (run.exitCode !== 0) throw new Error(`the session ended with ${run.exitCode}: ${run.stderr}`);
    const rows = toRows(JSON.parse(readFileSync(result, 'utf8')) as AllSamples, rival?.name ?? '');
    return [...rows, ...(await benchHookLoad())];
  } finally {
    await world.close();
  }
}

function toRows(samples: AllSamples, rivalName: string): readonly BenchRow[] {
  const row = (name: string, side: string, floorName: string, floorSide: string): readonly BenchRow[] => {
    const [own, floor] = [samples[side], samples[floorSide]];
    return own === undefined || floor === undefined ? [] : [makeRow(name, own, floorName, floor)];
  };
  return [
    ...row('hook/native', 'native-1k', 'a C program that only asks the same server', 'floor-1k'),
    ...row('hook/native-60k', 'native-60k', 'a C program that only asks the same server', 'floor-60k'),
    ...row('hook/native-node', 'native-1k', 'node -e 0', 'node'),
    ...row('hook/twin', 'twin-1k', 'node -e 0', 'node'),
    ...row('hook/twin-60k', 'twin-60k', 'node -e 0', 'node'),
    ...row('hook/native-rival', 'native-1k', rivalName, 'rival'),
    ...cpuRow('hook/native-cpu', samples['native-1k'], `processor time of ${rivalName}`, samples.rival),
  ];
}

/** Processor times; nothing where the system does not tell them. */
function cpuRow(name: string, own: Samples | undefined, floorName: string, floor: Samples | undefined) {
  if (typeof own?.cpuMs !== 'number' || typeof floor?.cpuMs !== 'number') return [];
  const times = ({ wallMs }: Samples, cpuMs: number): Samples => ({ wallMs: wallMs.map(() => cpuMs), cpuMs });
  return [makeRow(name, times(own, own.cpuMs), floorName, times(floor, floor.cpuMs))];
}

async function compileFloor(directory: string): Promise<string | null> {
  const script = fileURLToPath(new URL('../../../scripts/build-hook.mjs', import.meta.url));
  const out = join(directory, 'connect-floor');
  const args = [script, '--source', 'connect-floor.c', out];
  const { exitCode } = await runCommand(process.execPath, args, { timeoutMs: 60_000 });
  return exitCode === 0 ? out : null;
}
