/**
 * Plays an agent with forty sub-agents that make fifty tool calls each, all at once, for `hook/40x50`: every call runs the
 * hook client of the settings before and after it, as Claude Code does, and a model thinks for half a second to one and a
 * half between two calls. Then it asks the hook server how long its answers waited. What it learned goes to `BENCH_RESULT`.
 */
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { hookFrame } from './hook-frame.ts';

const subAgents = 40;
const callsEach = 50;

interface Thinking {
  readonly leastMs: number;
  readonly mostMs: number;
}

interface Hook {
  readonly command: string;
  readonly args: readonly string[];
}
type Settings = { readonly hooks: Record<string, readonly { readonly hooks: readonly Hook[] }[]> };

const args = process.argv.slice(2);
const settings = JSON.parse(readFileSync(args[args.indexOf('--settings') + 1] ?? '', 'utf8')) as Settings;
const hookOf = (event: string): Hook => {
  const hook = settings.hooks[event]?.[0]?.hooks[0];
  if (hook === undefined) throw new Error(`the settings hold no hook for ${event}`);
  return hook;
};

/** Runs one hook as the agent does. @returns Milliseconds from its start to its end. */
function runHook(event: string, input: object): Promise<number> {
  const { command, args: hookArgs } = hookOf(event);
  const startedAt = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(command, hookArgs, { stdio: ['pipe', 'ignore', 'inherit'] });
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve(performance.now() - startedAt) : reject(new Error(`${event} ended with ${code}`)),
    );
    child.stdin.end(JSON.stringify({ hook_event_name: event, session_id: 'bench', ...input }));
  });
}

async function runSubAgent(number: number, thinks: Thinking): Promise<readonly number[]> {
  const who = {
    agent_id: `sub-${number}`,
    agent_type: 'worker',
    cwd: process.cwd(),
    permission_mode: 'default',
  };
  const waits: number[] = [];
  await runHook('SubagentStart', who);
  for (let call = 0; call < callsEach; call += 1) {
    await delay(thinks.leastMs + Math.random() * (thinks.mostMs - thinks.leastMs));
    const input = { command: `npm run task-${number} -- --step ${call}`, description: 'a step' };
    const use = { ...who, tool_name: 'Bash', tool_use_id: `toolu_${number}_${call}`, tool_input: input };
    waits.push(await runHook('PreToolUse', use));
    await runHook('PostToolUse', { ...use, tool_response: { stdout: 'done' }, duration_ms: 1 });
  }
  await runHook('SubagentStop', who);
  return waits;
}

/** What the hook server says of itself. */
function askServer(): Promise<unknown> {
  const [, , socketPath = ''] = hookOf('PreToolUse').args.slice(-6);
  const key = readFileSync(`${socketPath}.key`);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect(socketPath);
    socket.on('data', (bytes) => chunks.push(bytes));
    socket.on('error', reject);
    socket.on('close', () => {
      const reply = Buffer.concat(chunks);
      resolve(JSON.parse(reply.subarray(7, 7 + reply.readUInt32BE(3)).toString()));
    });
    socket.end(hookFrame('selfTest', key, 'selfTest', ''));
  });
}

await runHook('SessionStart', { source: 'startup', cwd: process.cwd() });
// The first decision loads the engine; that is no matter of load.
await runSubAgent(subAgents, { leastMs: 0, mostMs: 0 });
const waits = await Promise.all(
  Array.from({ length: subAgents }, (_, number) => runSubAgent(number, { leastMs: 500, mostMs: 1500 })),
);
writeFileSync(
  process.env.BENCH_RESULT ?? '',
  JSON.stringify({ wallMs: waits.flat(), server: await askServer() }),
);
