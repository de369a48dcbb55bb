import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BenchRow, makeRow, type Samples } from './row.ts';
import { pathWithAgent, startSessionWorld } from './session-world.ts';

/**
 * `hook/twin`: the TypeScript hook client, spawn to exit, with the real hook server of a real session deciding.
 * Floor: an empty Node process, in turn with it.
 */
export async function benchHook(rounds: number): Promise<readonly BenchRow[]> {
  const world = await startSessionWorld();
  try {
    const agent = fileURLToPath(new URL('./bench-hook-agent.js', import.meta.url));
    const result = join(world.home.root, 'samples.json');
    const PATH = pathWithAgent(world, `#!/bin/sh\nexec '${process.execPath}' '${agent}' "$@"\n`);
    const run = await world.cli(['start', '--agent', 'claude', '--trust', '--', '-p', 'bench'], {
      env: { PATH, BENCH_RESULT: result, BENCH_ROUNDS: String(rounds) },
      timeoutMs: 300_000,
    });
    if (run.exitCode !== 0) throw new Error(`the session ended with ${run.exitCode}: ${run.stderr}`);
    const samples = JSON.parse(readFileSync(result, 'utf8')) as Record<string, Samples>;
    const none: Samples = { wallMs: [], cpuMs: null };
    const floor = samples.node ?? none;
    return [
      makeRow('hook/twin', samples['twin-1k'] ?? none, 'node -e 0', floor),
      makeRow('hook/twin-60k', samples['twin-60k'] ?? none, 'node -e 0', floor),
    ];
  } finally {
    await world.close();
  }
}
