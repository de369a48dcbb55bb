import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { followAudit } from '../follow-audit.ts';
import type { World } from '../world.ts';
import { type BenchRow, makeRow } from './row.ts';
import { pathWithAgent, startSessionWorld } from './session-world.ts';

interface Learned {
  readonly wallMs: readonly number[];
  readonly server: { readonly waits: { count: number; p50Ms: number; p99Ms: number; maxMs: number } };
}

/** Calls of the sub-agents, those of the warm-up besides. */
const calls = 41 * 50;

/**
 * `hook/40x50`: forty sub-agents at once, fifty calls each, by the real hook clients. What counts is how long an answer waited
 * inside the hook server, from the connection to the reply; the floor is the five milliseconds that 99 of 100 may take.
 *
 * @throws Error when one event is missing in the record.
 */
export async function benchHookLoad(): Promise<readonly BenchRow[]> {
  const world = await startSessionWorld();
  try {
    const agent = fileURLToPath(new URL('./bench-hook-load-agent.js', import.meta.url));
    const result = join(world.home.root, 'load.json');
    const PATH = pathWithAgent(world, `#!/bin/sh\nexec '${process.execPath}' '${agent}' "$@"\n`);
    const run = await world.cli(['start', '--agent', 'claude', '--trust', '--', '-p', 'bench'], {
      env: { PATH, BENCH_RESULT: result },
      timeoutMs: 600_000,
    });
    if (run.exitCode !== 0) throw new Error(`the session ended with ${run.exitCode}: ${run.stderr}`);
    const session = /\bses_[0-9a-f-]+/.exec(run.stderr)?.[0] ?? '';
    await checkRecord(world, session);
    return toRows(JSON.parse(readFileSync(result, 'utf8')) as Learned);
  } finally {
    await world.close();
  }
}

/** Every call must stand in the record, which must verify. */
async function checkRecord(world: World, session: string): Promise<void> {
  const tail = followAudit(world, ['--session', session]);
  try {
    await tail.waitFor(({ kind }) => kind === 'session.ended', 120_000);
    const seen = (kind: string): number => tail.events.filter((event) => event.kind === kind).length;
    const [decided, completed] = [seen('tool_call.decided'), seen('tool_call.completed')];
    const verified = await world.cli(['audit', 'verify', session]);
    if (verified.exitCode === 0 && decided === calls && completed === calls) return;
    throw new Error(`of ${calls} calls ${decided} and ${completed} are in the record: ${verified.stderr}`);
  } finally {
    await tail.stop();
  }
}

function toRows({ wallMs, server }: Learned): readonly BenchRow[] {
  const allowed = { wallMs: [5], cpuMs: null };
  const { p50Ms, p99Ms, maxMs, count } = server.waits;
  const waited = makeRow('hook/40x50', { wallMs: [p99Ms], cpuMs: null }, 'the 5 ms allowed', allowed);
  const clients = makeRow('hook/40x50-clients', { wallMs, cpuMs: null }, 'the 5 ms allowed', allowed);
  return [{ ...waited, p50Ms, p95Ms: p99Ms, p99Ms: maxMs, n: count }, clients];
}
