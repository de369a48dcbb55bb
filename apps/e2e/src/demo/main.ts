/**
 * `npm run demo`: the whole of kontext on one machine, on real parts, in one go.
 *
 * It uses a private home, ends everything it starts, and touches no account of the user. `--json` prints one JSON
 * verdict as the last line of standard output; `--bin <prefix>` uses a global install instead of this repository.
 */
import { parseArgs } from 'node:util';
import { builtPrograms, installedPrograms } from '../programs.ts';
import { startWorld, type World } from '../world.ts';
import { prepareAgent } from './prepare-agent.ts';
import { printReport, readVerdict, type Verdict } from './report.ts';
import { connectUpstream, putStaticKey, signIn, startAgent, writeProject } from './steps.ts';

const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

async function tellTheStory(world: World): Promise<Verdict> {
  say(`\n1. The backend runs on its embedded database at ${world.apiUrl}, a stand-in provider beside it.`);
  await signIn(world, say);
  await connectUpstream(world, say);
  await putStaticKey(world, say);
  const placeholders = writeProject(world);
  const agent = await prepareAgent(world);
  try {
    say(`\n5. kontext start --agent claude   (${agent.description})\n`);
    const run = await startAgent(world, agent);
    return await readVerdict(world, run, placeholders);
  } finally {
    await agent.close();
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { json: { type: 'boolean', default: false }, bin: { type: 'string' } },
  });
  const startedAt = Date.now();
  say('kontext demo: from nothing to an audited agent session, on this machine only');
  const programs = values.bin === undefined ? builtPrograms() : installedPrograms(values.bin);
  const bus = process.env.DBUS_SESSION_BUS_ADDRESS;
  const world = await startWorld({
    programs,
    fresh: true,
    cliEnv: bus ? { DBUS_SESSION_BUS_ADDRESS: bus } : {},
  });
  try {
    const verdict = await tellTheStory(world);
    printReport(verdict, (Date.now() - startedAt) / 1000, say);
    if (values.json) process.stdout.write(`${JSON.stringify(verdict.summary)}\n`);
    return verdict.ok ? 0 : 1;
  } finally {
    await world.close();
  }
}

process.exitCode = await main();
