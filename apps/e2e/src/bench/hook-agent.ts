/**
 * Plays the agent for `hook/…`: started by `kontext start`, it takes the hook command out of the settings it was given and
 * runs it as Claude Code would, in turn with the twin (`BENCH_TWIN`), a program that only talks to the same server
 * (`BENCH_FLOOR`), a published hook of another product (`BENCH_RIVAL`) and an empty Node process. Samples go to `BENCH_RESULT`.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { hookFrame } from './hook-frame.ts';
import { interleave } from './row.ts';

interface HookSettings {
  readonly hooks: Record<
    string,
    readonly { readonly hooks: readonly { command: string; args?: string[] }[] }[]
  >;
}

const args = process.argv.slice(2);
const settingsFile = args[args.indexOf('--settings') + 1] ?? '';
const settings = JSON.parse(readFileSync(settingsFile, 'utf8')) as HookSettings;
const hook = settings.hooks.PreToolUse?.[0]?.hooks[0];
if (hook === undefined) throw new Error('the settings hold no PreToolUse hook');

function payload(bytes: number): string {
  const call = {
    session_id: 'bench',
    transcript_path: '',
    cwd: process.cwd(),
    hook_event_name: 'PreToolUse',
    permission_mode: 'default',
    tool_name: 'Bash',
    tool_input: { command: 'ls -la src', description: '' },
    tool_use_id: `toolu_${Math.random().toString(36).slice(2)}`,
  };
  const missing = bytes - JSON.stringify(call).length;
  call.tool_input.description = 'lorem ipsum '.repeat(Math.ceil(missing / 12)).slice(0, Math.max(0, missing));
  return JSON.stringify(call);
}

function timed(command: string, commandArgs: readonly string[], input: string | Buffer): number {
  const startedAt = performance.now();
  const { status } = spawnSync(command, commandArgs, { input, stdio: ['pipe', 'ignore', 'inherit'] });
  const wallMs = performance.now() - startedAt;
  if (status !== 0) throw new Error(`${command} ended with ${status}`);
  return wallMs;
}

const [, event = '', socketPath = ''] = (hook.args ?? []).slice(-6);
const key = readFileSync(`${socketPath}.key`);

const [kilobyte, sixty] = [1024, 60 * 1024];
const floorProgram = process.env.BENCH_FLOOR ?? '';
const floor = (bytes: number) => () =>
  timed(floorProgram, [socketPath], hookFrame('hook', key, event, payload(bytes)));
const rivalProgram = process.env.BENCH_RIVAL ?? '';
const rival = () => timed(process.execPath, [rivalProgram, 'hook', '--claude-code'], payload(kilobyte));
const isTwin = hook.command === '/usr/bin/env';
const native = (bytes: number) => () => timed(hook.command, hook.args ?? [], payload(bytes));
const twinArgs = isTwin
  ? (hook.args ?? [])
  : ['-u', 'NODE_OPTIONS', process.execPath, process.env.BENCH_TWIN ?? '', ...(hook.args ?? [])];
const twin = (bytes: number) => () => timed('/usr/bin/env', twinArgs, payload(bytes));
const samples = interleave(Number(process.env.BENCH_ROUNDS ?? '40'), {
  node: () => timed(process.execPath, ['-e', '0'], ''),
  ...(isTwin ? {} : { 'native-1k': native(kilobyte), 'native-60k': native(sixty) }),
  'twin-1k': twin(kilobyte),
  'twin-60k': twin(sixty),
  ...(floorProgram === '' ? {} : { 'floor-1k': floor(kilobyte), 'floor-60k': floor(sixty) }),
  ...(rivalProgram === '' ? {} : { rival }),
});
writeFileSync(process.env.BENCH_RESULT ?? '', JSON.stringify(samples));
