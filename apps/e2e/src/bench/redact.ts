import { readdirSync, readFileSync } from 'node:fs';
import { createPayloadRedactor, Secret } from '@kontext/redaction';
import { repositoryRoot } from '../programs.ts';
import { type BenchRow, makeRow, type Samples } from './row.ts';

const kib = 1024;
const floorName = 'JSON.stringify(JSON.parse(…)) of the same payload';
/**
 * Bytes of the payloads of one sample, all different: an engine must not learn one by heart. As many bytes of short ones as of
 * long ones, so that both are measured warm: some thousand runs of 1 KB before the first that counts, and in every round.
 */
const inOneSample = 1024 * kib;
/** Samples per round asked for: one is some tens of milliseconds. */
const perRound = 4;

/**
 * `redact/1k`, `redact/64k`: a tool's result through the whole redaction before it is hashed (exact values of ten secrets, keys,
 * patterns). `redact/check-64k`: the backend's own look at a stored one. Processor time per KB is in `usPerKb`; goal 60.
 */
export async function benchRedact(rounds: number): Promise<readonly BenchRow[]> {
  const secrets = Array.from(
    { length: 10 },
    (_, at) => new Secret(`value-of-${at}-${'q7'.repeat(12)}-${at * 7919}`),
  );
  const nowMs = (): number => performance.now();
  const session = createPayloadRedactor({ secrets, nowMs, budgetMs: 60_000 });
  const backend = createPayloadRedactor({ secrets: [], nowMs, budgetMs: 60_000 });
  const redact = (text: string): unknown => session.redactPayload(JSON.parse(text));
  return [
    measure('redact/1k', kib, rounds, redact),
    measure('redact/64k', 62 * kib, rounds, redact),
    measure('redact/check-64k', 62 * kib, rounds, (text) => backend.checkPayload(text)),
  ];
}

function measure(name: string, bytes: number, rounds: number, work: (text: string) => unknown): BenchRow {
  const next = createResults(bytes);
  const runs = Math.ceil(inOneSample / bytes);
  const sides = { work, floor: (text: string): unknown => JSON.stringify(JSON.parse(text)) };
  const samples = { work: [] as number[], floor: [] as number[] };
  const cpu = { work: 0, floor: 0 };
  for (let at = -perRound; at < rounds * perRound; at += 1) {
    const texts = Array.from({ length: runs }, next);
    for (const side of ['work', 'floor'] as const) {
      const [startedAt, before] = [performance.now(), process.cpuUsage()];
      for (const text of texts) sides[side](text);
      const [wallMs, spent] = [performance.now() - startedAt, process.cpuUsage(before)];
      // The first ones are for the engine to warm up.
      if (at < 0) continue;
      samples[side].push(wallMs / runs);
      cpu[side] += (spent.user + spent.system) / 1000 / runs / (rounds * perRound);
    }
  }
  const of = (side: 'work' | 'floor'): Samples => ({ wallMs: samples[side], cpuMs: cpu[side] });
  return { ...makeRow(name, of('work'), floorName, of('floor')), usPerKb: (cpu.work * 1000) / (bytes / kib) };
}

/** Results of reading files: this repository's own sources, another piece each time. */
function createResults(bytes: number): () => string {
  const folder = new URL('packages/policy/src/', repositoryRoot());
  const files = readdirSync(folder).filter((name) => name.endsWith('.ts'));
  const source = files.map((name) => readFileSync(new URL(name, folder), 'utf8')).join('\n');
  const text = source.repeat(Math.ceil((4 * bytes) / source.length) + 1);
  let at = 0;
  return () => {
    at = (at + 7919) % (text.length - bytes);
    return JSON.stringify({
      tool: 'Read',
      file: '/home/dev/shop/src/index.ts',
      result: text.slice(at, at + bytes),
    });
  };
}
