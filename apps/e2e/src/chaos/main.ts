/**
 * `npm run chaos [-- --only name,… --rounds 20 --seconds 10 --list]`: every fault as a scenario on the built programs.
 *
 * One JSON line for each: what was acknowledged to the senders, what is stored, lost, doubled, which forgeries were refused,
 * and the verifier's exit code. Exit code 1 when a scenario does not keep what it promises.
 */
import { parseArgs } from 'node:util';
import { closeConnections } from '../bench/load.ts';
import { scenarios } from './list.ts';
import { type ChaosOptions, isKept, type Scenario } from './scenario.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    rounds: { type: 'string', default: '20' },
    seconds: { type: 'string', default: '10' },
    list: { type: 'boolean', default: false },
  },
});
const wanted = values.only.split(',').filter(Boolean);
const chosen = scenarios.filter(
  ({ name }) => wanted.length === 0 || wanted.some((one) => name === one || name.startsWith(`${one}/`)),
);
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

async function runOne({ name, skip, run }: Scenario, options: ChaosOptions): Promise<boolean> {
  const reason = skip();
  if (reason !== '') {
    say({ name, skipped: reason });
    return true;
  }
  const startedAt = performance.now();
  const took = (): number => Math.round((performance.now() - startedAt) / 100) / 10;
  try {
    const result = await run(options);
    const { figures, ...counts } = result;
    say({ name, kept: isKept(result), ...counts, ...figures, seconds: took() });
    return isKept(result);
  } catch (error) {
    say({
      name,
      kept: false,
      error: error instanceof Error ? error.message : String(error),
      seconds: took(),
    });
    return false;
  }
}

let isAllKept = true;
if (values.list) for (const { name, promise } of scenarios) say({ name, promise });
else if (chosen.length === 0) {
  process.stderr.write(`chaos: no scenario is called ${values.only}; --list names them\n`);
  isAllKept = false;
} else {
  const options = { rounds: Number(values.rounds), seconds: Number(values.seconds) };
  for (const scenario of chosen) isAllKept = (await runOne(scenario, options)) && isAllKept;
}
closeConnections();
process.exitCode = isAllKept ? 0 : 1;
