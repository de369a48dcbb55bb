import { createHash } from 'node:crypto';
import { createReadStream, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readBundleLines, verifyBundle } from '@kontext/audit';
import { logIn, startWorld, type World } from '../world.ts';
import { openBenchStream, sendBatch } from './audit-batches.ts';
import { closeConnections, send } from './load.ts';
import { type BenchRow, makeRateRow, type RateSamples } from './row.ts';
import { unlimited } from './session-world.ts';
import { createWireClient } from './wire-client.ts';

const streams = 8;
const batches = 5;
const batch = 500;
/** In bytes, as `kontext audit verify` reads. */
const highWaterMark = 1 << 20;
/** A bundle is verified in less than a second; more rounds than that say nothing new. */
const mostRounds = 15;

/**
 * `verify/bundle`: events per second of the offline verifier over an export of a store (file, lines, hashes, chain, columns,
 * proofs, signature). Floor: reading the same file and hashing it once. Goal: 50,000 a second.
 */
export async function benchVerify(rounds: number): Promise<readonly BenchRow[]> {
  const world = await startWorld({ upstream: false, backendEnv: unlimited });
  try {
    await fill(world);
    const path = await exportAll(world);
    const key = await verifierKey(world);
    const [checked, hashed]: [RateSamples[], RateSamples[]] = [[], []];
    let events = 0;
    for (let round = 0; round <= Math.min(rounds, mostRounds); round += 1) {
      const startedAt = performance.now();
      const report = await verifyBundle(readBundleLines(createReadStream(path, { highWaterMark })), {
        keys: [key],
      });
      const wallMs = performance.now() - startedAt;
      if (!report.ok)
        throw new Error(`the export does not verify: ${JSON.stringify(report.findings.slice(0, 3))}`);
      events = report.events;
      const floorStartedAt = performance.now();
      createHash('sha256').update(readFileSync(path)).digest();
      const floorMs = performance.now() - floorStartedAt;
      if (round === 0) continue;
      checked.push({ rate: (events * 1000) / wallMs, wallMs: [wallMs] });
      hashed.push({ rate: (events * 1000) / floorMs, wallMs: [floorMs] });
    }
    return [makeRateRow('verify/bundle', checked, 'one SHA-256 of the same file', hashed)];
  } finally {
    await world.close();
    closeConnections();
  }
}

async function fill(world: World): Promise<void> {
  const client = await createWireClient(world);
  for (let n = 0; n < streams; n += 1) {
    const stream = await openBenchStream(client);
    for (let at = 0; at < batches; at += 1) await sendBatch(stream.append(stream.write(batch)));
  }
  await send(client.call('AuditService/GetCheckpoint', {}));
}

async function exportAll(world: World): Promise<string> {
  const login = await logIn(world, ['--insecure-storage']);
  if (login.exitCode !== 0) throw new Error(`login failed: ${login.stderr}`);
  const path = join(world.home.workDir, 'bench.jsonl');
  const made = await world.cli(['audit', 'export', '-o', path], { timeoutMs: 300_000 });
  if (made.exitCode !== 0) throw new Error(`the export failed: ${made.stderr}`);
  return path;
}

async function verifierKey(world: World): Promise<string> {
  const shown = await world.cli(['audit', 'checkpoint', '--json']);
  return (JSON.parse(shown.stdout) as { readonly key: string }).key;
}
