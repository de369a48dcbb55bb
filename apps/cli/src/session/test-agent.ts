import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** One thing the stand-in agent does. */
export type AgentStep =
  | { readonly event: string; readonly fields?: Readonly<Record<string, unknown>> }
  /** A shell command, run as the agent's tool would run it. */
  | { readonly shell: string }
  | { readonly exit: number };

/** What one hook process did. */
export interface AgentHookRun {
  readonly event: string;
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A stand-in for Claude Code: reads `--settings`, runs hooks as Claude does, plays a script. */
export interface TestAgent {
  /** Directory to be put on PATH. */
  readonly bin: string;
  play(steps: readonly AgentStep[]): void;
  /** Puts the package beside it that tells its version; without it nobody knows. */
  isVersion(version: string): void;
  /** Hooks it ran, in order. */
  hookRuns(): readonly AgentHookRun[];
  /** What it saw when it was asked to check settings. */
  checked(): {
    readonly settings: Readonly<Record<string, unknown>>;
    readonly env: Readonly<Record<string, string>>;
    readonly cwd: string;
  };
  /** Its arguments and environment at the last start. */
  started(): { readonly args: readonly string[]; readonly env: Readonly<Record<string, string>> };
}

/** CommonJS, one file, run by the Node of the test. */
const source = `
const fs = require('node:fs');
const { spawnSync } = require('node:child_process');
const dir = __dirname;
const args = process.argv.slice(2);
const settings = JSON.parse(fs.readFileSync(args[args.indexOf('--settings') + 1], 'utf8'));
// As Claude does: one wrong entry, and nothing of the file counts.
if (settings.model !== undefined && typeof settings.model !== 'string') settings.hooks = {};
if (args.includes('--init-only')) {
  fs.writeFileSync(dir + '/checked.json', JSON.stringify({ settings, env: process.env, cwd: process.cwd() }));
  for (const { hooks } of settings.hooks.SessionStart ?? []) for (const hook of hooks) {
    spawnSync(hook.command, hook.args ?? [], { stdio: 'ignore', shell: hook.args === undefined });
  }
  process.exit(0);
}
fs.writeFileSync(dir + '/started.json', JSON.stringify({ args, env: process.env }));
const runs = [];
for (const step of JSON.parse(fs.readFileSync(dir + '/script.json', 'utf8'))) {
  if (step.exit !== undefined) process.exit(step.exit);
  if (step.shell !== undefined) { spawnSync('/bin/sh', ['-c', step.shell], { stdio: 'inherit' }); continue; }
  const input = JSON.stringify({ session_id: 's', cwd: process.cwd(), hook_event_name: step.event, ...step.fields });
  for (const { hooks } of settings.hooks[step.event] ?? []) {
    for (const hook of hooks) {
      const env = { ...process.env, ...settings.env };
      const run = spawnSync(hook.command, hook.args, { input, env, encoding: 'utf8' });
      runs.push({ event: step.event, code: run.status, stdout: run.stdout, stderr: run.stderr });
      fs.writeFileSync(dir + '/runs.json', JSON.stringify(runs));
    }
  }
}
`;

/** Puts the agent into a directory. */
export function createTestAgent(home: string): TestAgent {
  const bin = join(home, 'agent-bin');
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, 'agent.cjs'), source);
  const launcher = `#!/bin/sh\nexec '${process.execPath}' '${join(bin, 'agent.cjs')}' "$@"\n`;
  writeFileSync(join(bin, 'claude'), launcher, { mode: 0o755 });
  const read = (name: string) => JSON.parse(readFileSync(join(bin, name), 'utf8'));
  return {
    bin,
    play: (steps) => writeFileSync(join(bin, 'script.json'), JSON.stringify(steps)),
    isVersion: (version) =>
      writeFileSync(
        join(bin, 'package.json'),
        JSON.stringify({ name: '@anthropic-ai/claude-code', type: 'commonjs', version }),
      ),
    hookRuns: () => read('runs.json'),
    checked: () => read('checked.json'),
    started: () => read('started.json'),
  };
}
