/**
 * `npm run bench`: speed, each row against a floor measured in the same run, in turn with it.
 *
 * `--only hook,start` picks suites, `--json` prints one JSON line per row, `--rounds n` sets the samples per side, `--events n`
 * how many events the large store of `query` and `ingest` holds.
 */
import { parseArgs } from 'node:util';
import { benchDecide } from './decide.ts';
import { benchExchange } from './exchange.ts';
import { benchHook } from './hook.ts';
import { benchIngest } from './ingest.ts';
import { benchQuery } from './query.ts';
import { benchRedact } from './redact.ts';
import type { BenchRow } from './row.ts';
import { benchStart } from './start.ts';
import { benchVerify } from './verify.ts';

/** How much is measured. */
interface BenchSize {
  /** Events in the large store of `query` and `ingest`; null: their own choice. */
  readonly events: number | null;
}

const suites: Readonly<Record<string, (rounds: number, size: BenchSize) => Promise<readonly BenchRow[]>>> = {
  hook: benchHook,
  decide: benchDecide,
  start: benchStart,
  exchange: benchExchange,
  ingest: (rounds, { events }) => benchIngest(rounds, events),
  query: (rounds, { events }) => benchQuery(rounds, events),
  redact: benchRedact,
  verify: benchVerify,
};

const digits = (value: number): string => value.toFixed(value < 1 ? 3 : 1);

function print(row: BenchRow, json: boolean): void {
  const cpu = row.cpuMs === null ? '' : `, cpu ${row.cpuMs.toFixed(1)} ms`;
  const perKb = row.usPerKb === undefined ? '' : `, ${row.usPerKb.toFixed(1)} µs/KB`;
  const text = `${row.name.padEnd(22)} ${row.ratio.toFixed(2)} × ${row.floorName}  (${digits(row.value)} ${row.unit}, floor ${digits(row.floor)} ${row.unit}, p95 ${digits(row.p95Ms)} ms${cpu}${perKb}, n ${row.n})`;
  process.stdout.write(`${json ? JSON.stringify(row) : text}\n`);
}

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: Object.keys(suites).join(',') },
    json: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '30' },
    events: { type: 'string' },
  },
});
const size = { events: values.events === undefined ? null : Number(values.events) };
for (const name of values.only.split(',')) {
  const suite = suites[name];
  if (suite === undefined)
    throw new Error(`there is no suite ${name}; there are ${Object.keys(suites).join(', ')}`);
  for (const row of await suite(Number(values.rounds), size)) print(row, values.json);
}
