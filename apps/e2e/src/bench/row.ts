import { readFileSync } from 'node:fs';

/** One line of `npm run bench -- --json`. `value` and `floor` are milliseconds of wall clock, or requests per second. */
export interface BenchRow {
  readonly name: string;
  readonly value: number;
  readonly unit: 'ms' | '1/s';
  readonly floorName: string;
  readonly floor: number;
  /** Cost or rate divided by floor, both medians of the same interleaved run. */
  readonly ratio: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  /** User and system time of one run, mean over all; null where the system does not tell. */
  readonly cpuMs: number | null;
  readonly n: number;
  /** Processor time per KB of input in microseconds, where that is what counts. */
  readonly usPerKb?: number;
}

/** Samples of one side of a comparison. */
export interface Samples {
  readonly wallMs: readonly number[];
  readonly cpuMs: number | null;
}

/** Puts a row together. */
export function makeRow(name: string, samples: Samples, floorName: string, floor: Samples): BenchRow {
  const value = quantile(samples.wallMs, 0.5);
  const floorValue = quantile(floor.wallMs, 0.5);
  return {
    name,
    value,
    unit: 'ms',
    floorName,
    floor: floorValue,
    ratio: round(value / floorValue),
    p50Ms: value,
    p95Ms: quantile(samples.wallMs, 0.95),
    p99Ms: quantile(samples.wallMs, 0.99),
    cpuMs: samples.cpuMs === null ? null : round(samples.cpuMs),
    n: samples.wallMs.length,
  };
}

/** Puts a row together in which the slow ends are compared: p95 divided by the floor's p95. */
export function makeTailRow(name: string, samples: Samples, floorName: string, floor: Samples): BenchRow {
  const [value, floorValue] = [quantile(samples.wallMs, 0.95), quantile(floor.wallMs, 0.95)];
  const row = makeRow(name, samples, `p95 of ${floorName}`, floor);
  return { ...row, value, floor: floorValue, ratio: round(value / floorValue) };
}

/** Rounds of requests: how many were answered per second, and how long each took. */
export interface RateSamples {
  readonly rate: number;
  readonly wallMs: readonly number[];
}

/** Puts a row about a rate together; the times are those of single requests. */
export function makeRateRow(
  name: string,
  samples: readonly RateSamples[],
  floorName: string,
  floor: readonly RateSamples[],
): BenchRow {
  const rateOf = (side: readonly RateSamples[]): number =>
    quantile(
      side.map(({ rate }) => rate),
      0.5,
    );
  const wallMs = samples.flatMap((round) => round.wallMs);
  const row = makeRow(name, { wallMs, cpuMs: null }, floorName, { wallMs: [], cpuMs: null });
  const [value, floorValue] = [rateOf(samples), rateOf(floor)];
  return { ...row, value, unit: '1/s', floor: floorValue, ratio: round(value / floorValue) };
}

function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return round(sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN);
}

const round = (value: number): number => Math.round(value * 1000) / 1000;

/**
 * User and system time of all children this process has waited for, in milliseconds (Linux; ticks of 10 ms, so only
 * sums over many children mean something). Null elsewhere.
 */
export function childrenCpuMs(): number | null {
  try {
    const stat = readFileSync('/proc/self/stat', 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[13]) + Number(fields[14])) * 10;
  } catch {
    return null;
  }
}

/** Runs the sides in turn, A B A B …, so that a drifting machine hits all alike; the first round does not count. */
export function interleave(
  rounds: number,
  sides: Readonly<Record<string, () => number>>,
): Readonly<Record<string, Samples>> {
  const wall: Record<string, number[]> = {};
  const cpu: Record<string, number | null> = {};
  for (let round = 0; round <= rounds; round += 1) {
    for (const [name, run] of Object.entries(sides)) {
      const before = childrenCpuMs();
      const wallMs = run();
      if (round === 0) continue;
      wall[name] = [...(wall[name] ?? []), wallMs];
      const after = childrenCpuMs();
      const spent = before === null || after === null ? null : after - before;
      cpu[name] = spent === null ? null : (cpu[name] ?? 0) + spent;
    }
  }
  return Object.fromEntries(
    Object.keys(sides).map((name) => {
      const total = cpu[name] ?? null;
      return [name, { wallMs: wall[name] ?? [], cpuMs: total === null ? null : total / rounds }];
    }),
  );
}
