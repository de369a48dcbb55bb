/**
 * The bundled demo agent: a stand-in for Claude Code that needs no account and no network.
 *
 * It plays a fixed list of tool calls and calls hooks exactly as Claude Code does (agents documentation, "command
 * hooks", exec form): one process per hook, the event as JSON on standard input, all hooks of an event in parallel,
 * exit 2 blocks PreToolUse, any other failure lets the call run.
 */
import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { ToolStep } from './script.ts';

interface HookCommand {
  readonly type: string;
  readonly command: string;
  readonly args?: readonly string[];
  readonly timeout?: number;
}

interface Settings {
  readonly hooks?: Record<
    string,
    readonly { readonly matcher?: string; readonly hooks: readonly HookCommand[] }[]
  >;
}

interface HookAnswer {
  readonly code: number;
  readonly stderr: string;
}

const sessionId = randomUUID();

function loadSettings(args: readonly string[]): Settings {
  const at = args.lastIndexOf('--settings');
  const value = at >= 0 ? args[at + 1] : undefined;
  if (value === undefined) return {};
  return JSON.parse(value.startsWith('{') ? value : readFileSync(value, 'utf8')) as Settings;
}

function runHook(hook: HookCommand, input: string): Promise<HookAnswer> {
  return new Promise((resolve) => {
    const child = spawn(hook.command, [...(hook.args ?? [])], {
      stdio: ['pipe', 'ignore', 'pipe'],
      timeout: (hook.timeout ?? 60) * 1000,
      shell: hook.args === undefined,
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', (error) => resolve({ code: 127, stderr: error.message }));
    child.on('close', (code) => resolve({ code: code ?? 1, stderr }));
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}

/** Runs every hook of an event; says whether one of them blocked, and with which reason. */
async function fire(
  settings: Settings,
  event: string,
  fields: object,
): Promise<{ blocked: boolean; reason: string }> {
  const common = { session_id: sessionId, transcript_path: '', cwd: process.cwd(), hook_event_name: event };
  const input = JSON.stringify({ ...common, ...fields });
  const hooks = (settings.hooks?.[event] ?? []).flatMap((group) => group.hooks);
  const answers = await Promise.all(hooks.map((hook) => runHook(hook, input)));
  const block = answers.find((answer) => answer.code === 2);
  return { blocked: block !== undefined, reason: block?.stderr.trim() ?? '' };
}

async function playStep(settings: Settings, step: ToolStep): Promise<void> {
  const call = {
    permission_mode: 'default',
    tool_name: 'Bash',
    tool_input: { command: step.command, description: step.description },
    tool_use_id: `toolu_${randomUUID().replaceAll('-', '').slice(0, 24)}`,
  };
  const answer = await fire(settings, 'PreToolUse', call);
  console.log(`  agent: ${step.description}`);
  if (answer.blocked) {
    console.log(`    blocked: ${answer.reason.split('\n')[0]}`);
    return;
  }
  const started = Date.now();
  const result = spawnSync('/bin/sh', ['-c', step.command], { encoding: 'utf8' });
  const response = { stdout: result.stdout, stderr: result.stderr, interrupted: false };
  const duration = { duration_ms: Date.now() - started };
  if (result.status === 0)
    await fire(settings, 'PostToolUse', { ...call, tool_response: response, ...duration });
  else
    await fire(settings, 'PostToolUseFailure', { ...call, error: `Exit code ${result.status}`, ...duration });
  console.log(`    exit ${result.status}: ${result.stdout.trim().split('\n')[0] ?? ''}`);
}

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  if (args.includes('--version')) {
    console.log('0.0.0 (kontext demo agent)');
    return;
  }
  const settings = loadSettings(args);
  const steps = JSON.parse(readFileSync(process.env.DEMO_SCRIPT ?? '', 'utf8')) as readonly ToolStep[];
  await fire(settings, 'SessionStart', { source: 'startup' });
  await fire(settings, 'UserPromptSubmit', { prompt: args.at(-1) ?? '' });
  for (const step of steps) await playStep(settings, step);
  await fire(settings, 'Stop', { stop_hook_active: false });
  await fire(settings, 'SessionEnd', { reason: 'other' });
}

await main();
