import { readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BenchRow, makeRow, type Samples } from './row.ts';
import { pathWithAgent, startSessionWorld } from './session-world.ts';

/**
 * `hook/native` and `hook/twin`: the two hook clients, spawn to exit, with the real hook server of a real session deciding.
 * Floor: an empty Node process, in turn with them. Without a native client its rows are missing.
 */
export async function benchHook(rounds: number): Promise<readonly BenchRow[]> {
  const world = await startSessionWorld();
  try {
    const agent = fileURLToPath(new URL('./bench-hook-agent.js', import.meta.url));
    const result = join(world.home.root, 'samples.json');
    const twin = join(dirname(realpathSync(world.programs.kontext.at(-1) ?? '')), 'hook.cjs');
    const PATH = pathWithAgent(world, `#!/bin/sh\nexec '${process.execPath}' '${agent}' "$@"\n`);
    const run = await world.cli(['start', '--agent', 'claude', '--trust', '--', '-p', 'bench'], {
      env: { PATH, BENCH_RESULT: result, BENCH_ROUNDS: String(rounds), BENCH_TWIN: twin },
      timeoutMs: 300_000,
    });
    if (run.exitCode !== 0) throw new Error(`the session ended with ${run.exitCode}: ${run.stderr}`);
    const samples = JSON.parse(readFileSync(result, 'utf8')) as Record<string, Samples>;
    const none: Samples = { wallMs: [], cpuMs: null };
    const floor = samples.node ?? none;
    const rows = { 'hook/native': 'native-1k', 'hook/native-60k': 'native-60k', 'hook/twin': 'twin-1k' };
    return Object.entries({ ...rows, 'hook/twin-60k': 'twin-60k' }).flatMap(([name, key]) =>
      samples[key] === undefined ? [] : [makeRow(name, samples[key] ?? none, 'node -e 0', floor)],
    );
  } finally {
    await world.close();
  }
}
