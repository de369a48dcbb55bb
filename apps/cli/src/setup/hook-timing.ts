import { spawn } from 'node:child_process';
import { createHookServer, type HookServer } from '../hooks/hook-server.ts';
import { textReply } from '../hooks/text-reply.ts';

/** How long a hook takes from start to end, beside a Node that does nothing. Milliseconds. */
export interface HookTiming {
  readonly runs: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly nodeP50Ms: number;
  readonly nodeP95Ms: number;
}

/** The command line of a hook. */
export interface HookCommand {
  readonly command: string;
  readonly args: readonly string[];
}

/** Longest time for one run of a hook that hangs. */
const runMs = 10_000;

/**
 * Runs a hook as the agent would, against a throw-away hook server, in turn with an empty Node.
 *
 * @param hook As the settings hold it; event, socket and failure answer are replaced by those of a self-test.
 * @returns The timing; or, in plain words, what went wrong.
 */
export async function timeHook(
  hook: HookCommand,
  runtimeDir: string,
  runs = 20,
): Promise<HookTiming | { readonly trouble: string }> {
  const server = await createHookServer({
    runtimeDir,
    handleHook: async () => textReply(0, '', ''),
    onFailure: () => textReply(0, '', ''),
  });
  try {
    return await timeAgainst(server, hook, runs);
  } finally {
    await server.close();
  }
}

async function timeAgainst(server: HookServer, hook: HookCommand, runs: number) {
  const test = { command: hook.command, args: selfTestArgs(hook.args, server.socketPath) };
  const hookMs: number[] = [];
  const nodeMs: number[] = [];
  for (let run = 0; run < runs; run += 1) {
    const { ms, code, stdout, stderr } = await runOnce(test);
    if (code !== 0 || !stdout.includes('"selfTest":"ok"')) {
      const said = stderr.trim().split('\n')[0] || `it ended with ${code ?? 'a signal'} and no answer`;
      return { trouble: `${hook.command}: ${said.slice(0, 300)}` };
    }
    hookMs.push(ms);
    nodeMs.push((await runOnce({ command: process.execPath, args: ['-e', '0'] })).ms);
  }
  return {
    runs,
    ...{ p50Ms: percentile(hookMs, 0.5), p95Ms: percentile(hookMs, 0.95) },
    ...{ nodeP50Ms: percentile(nodeMs, 0.5), nodeP95Ms: percentile(nodeMs, 0.95) },
  };
}

/** The last six are agent, event, socket, failure exit, pid and longest wait. */
const selfTestArgs = (args: readonly string[], socketPath: string): readonly string[] => [
  ...args.slice(0, -6),
  ...[args.at(-6) ?? '', 'self-test', socketPath, '2', String(process.pid), args.at(-1) ?? ''],
];

interface Run {
  readonly ms: number;
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function runOnce({ command, args }: HookCommand): Promise<Run> {
  return new Promise((resolve) => {
    const startedAt = performance.now();
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    const said = { stdout: '', stderr: '' };
    const timer = setTimeout(() => child.kill('SIGKILL'), runMs);
    const finish = (code: number | null, stderr = said.stderr): void => {
      clearTimeout(timer);
      resolve({ ms: performance.now() - startedAt, code, ...said, stderr });
    };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        said[name] += text;
      });
    }
    child.once('error', (error) => finish(null, error.message));
    child.once('close', (code) => finish(code));
    child.stdin.on('error', () => undefined).end('{}');
  });
}

/** Nearest rank, to a hundredth. */
function percentile(samples: readonly number[], share: number): number {
  const ordered = [...samples].sort((a, b) => a - b);
  const value = ordered[Math.max(0, Math.ceil(share * ordered.length) - 1)] ?? 0;
  return Math.round(value * 100) / 100;
}
