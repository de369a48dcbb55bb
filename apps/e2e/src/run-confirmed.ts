import { spawn } from 'node:child_process';
import { type CommandResult, confirmInBrowser } from '@kontext/testkit';
import type { CliOptions, World } from './world.ts';

/** How the person at the browser behaves. */
export interface ConfirmedOptions extends CliOptions {
  /** Who confirms; default the world's own account. */
  readonly person?: { readonly account: string; readonly passcode: string };
  /** Default `confirm`. */
  readonly decision?: 'confirm' | 'deny';
  /** Does the person's part; default: walks the pages over HTTP. */
  readonly confirm?: (url: string) => Promise<unknown>;
}

/**
 * Runs a command that changes authority to its end: reads the link off its output and confirms it in a browser, as the person
 * who started the command would. A command that asks for no confirmation just runs.
 */
export async function runConfirmed(
  world: World,
  args: readonly string[],
  options: ConfirmedOptions = {},
): Promise<CommandResult> {
  const [file = '', ...leading] = world.programs.kontext;
  const child = spawn(file, [...leading, '--wait-confirmation', ...args], {
    cwd: options.cwd ?? world.home.workDir,
    env: { ...world.env, ...options.env } as NodeJS.ProcessEnv,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin.on('error', () => undefined).end(options.stdin ?? '');
  const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 60_000);
  let stdout = '';
  let stderr = '';
  const walks = new Map<string, Promise<void>>();
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    for (const [url] of stderr.matchAll(/https?:\/\/\S+\/confirm\/[\w-]{43}(?=\s)/g)) {
      if (!walks.has(url)) walks.set(url, walk(url));
    }
  });
  const walk = async (url: string): Promise<void> => {
    const { account, passcode } = options.person ?? world;
    const decision = options.decision ?? 'confirm';
    const confirm = options.confirm ?? (() => confirmInBrowser({ url, account, passcode, decision }));
    await confirm(url).catch((error: Error) => {
      stderr += `\nconfirming failed: ${error.message}`;
      child.kill();
    });
  };
  const [exitCode, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
    child.once('close', (...end) => resolve(end));
  });
  clearTimeout(timer);
  await Promise.all(walks.values());
  return { exitCode, signal, stdout, stderr };
}
