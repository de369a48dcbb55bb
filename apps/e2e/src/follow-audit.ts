import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { World } from './world.ts';

/** One event as `kontext audit tail --json` prints it; only what stories look at. */
export interface TailedEvent {
  readonly seq: number;
  readonly streamId: string;
  readonly kind: string;
  readonly session: string;
  readonly user: string;
  readonly userName: string;
  readonly tool: string;
  readonly decision: string;
  readonly header: string;
  readonly payload: string | null;
}

/** A running `kontext audit tail --json`. */
export interface AuditTail {
  readonly events: readonly TailedEvent[];
  /** Resolves with the first event, past or coming, that fits. Rejects after `timeoutMs` (default 20,000). */
  waitFor(fits: (event: TailedEvent) => boolean, timeoutMs?: number): Promise<TailedEvent>;
  stop(): Promise<void>;
}

/** Follows the audit log as a person would, by the command itself; begins with the last hour. */
export function followAudit(world: World, args: readonly string[] = []): AuditTail {
  const [file = '', ...leading] = world.programs.kontext;
  const tail = ['audit', 'tail', '--json', '--since', '3600', ...args];
  const child = spawn(file, [...leading, ...tail], {
    cwd: world.home.workDir,
    env: world.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const events: TailedEvent[] = [];
  const waiting = new Set<() => void>();
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    words += text;
  });
  createInterface({ input: child.stdout }).on('line', (line) => {
    events.push(JSON.parse(line) as TailedEvent);
    for (const look of waiting) look();
  });
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
  return {
    events,
    waitFor: (fits, timeoutMs = 20_000) =>
      new Promise((resolve, reject) => {
        const finish = (settle: () => void): void => {
          waiting.delete(look);
          clearTimeout(timer);
          settle();
        };
        const look = (): void => {
          const found = events.find(fits);
          if (found !== undefined) finish(() => resolve(found));
        };
        const kinds = () => events.map((event) => event.kind).join(' ');
        const timer = setTimeout(
          () =>
            finish(() => reject(new Error(`no such event within ${timeoutMs} ms; ${words}; saw ${kinds()}`))),
          timeoutMs,
        );
        waiting.add(look);
        look();
      }),
    async stop() {
      if (child.exitCode === null) child.kill('SIGTERM');
      await exited;
    },
  };
}
