import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import { checkHooks } from '../setup/check-hooks.ts';
import { checkMachine } from '../setup/check-machine.ts';
import type { CheckResult } from '../setup/checkup.ts';

interface DoctorOptions {
  readonly agent?: string;
  readonly hook?: boolean;
  readonly json?: boolean;
}

/** `kontext doctor [--hook] [--json] [--agent claude]` */
export function define(command: Command, run: RunCommand): void {
  command
    .option('--agent <name>', 'coding agent to look at')
    .option('--hook', 'only what concerns hooks')
    .option('--json', 'as JSON; the exit code is 0 whatever was found')
    .action((options: DoctorOptions) =>
      run({ agent: options.agent }, (context) => examine(context, options)),
    );
}

/** @returns 1 when a check failed. The members of the JSON are pinned by a test: additive only. */
async function examine(context: Context, { hook = false, json = false }: DoctorOptions): Promise<number> {
  const machine = hook ? [] : await checkMachine(context);
  const { checks: hookChecks, timing } = await checkHooks(context.config);
  const checks = [...machine, ...hookChecks];
  const healthy = checks.every(({ state }) => state !== 'failed');
  const { terminal } = context;
  if (json) terminal.json({ healthy, checks, hook: timing });
  else for (const check of checks) for (const line of describe(check)) terminal.out(line);
  return json || healthy ? 0 : 1;
}

const marks = { ok: 'ok', warning: 'look', failed: 'FAIL' } as const;

const describe = ({ name, state, detail, next }: CheckResult): string[] => [
  `${marks[state].padEnd(5)} ${name.padEnd(13)} ${detail}`,
  ...(next === null ? [] : [`${''.padEnd(19)} next: ${next}`]),
];
