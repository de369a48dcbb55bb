/**
 * Threads that parse and evaluate policies somebody wrote, so that none of them stalls the backend.
 *
 * - A job that takes longer than its deadline ends its thread (`KX_POLICY_SLOW`).
 * - Short jobs wait for their turn; a replay that finds no thread free is refused (`KX_POLICY_BUSY`). Each organisation has one
 *   thread of each kind at a time, so that none starves the others.
 * - Cedar keeps every set it parsed: a thread ends after some.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { KontextError } from '@kontext/errors';
import type { Mode, PolicySet, SourceFile } from '@kontext/policy';
import type { CheckedSources, DecidedCall, JobAnswer, PolicyJob, PolicyJobs } from './worker-protocol.ts';

export type { CheckedSources, DecidedCall };

/** Parses and evaluates policies, away from the backend's own thread. Everything throws `KX_POLICY_BUSY`, `KX_POLICY_SLOW`. */
export interface PolicyWorkers {
  /** Parses and lints sources. */
  check(orgId: string, files: readonly SourceFile[]): Promise<CheckedSources>;
  /** @throws KontextError `KX_POLICY_INVALID` when the set cannot be loaded. */
  load(orgId: string, set: PolicySet): Promise<void>;
  /** Decides one call. @param call JSON of a `ToolCall`. Throws as {@link PolicyWorkers.load}. */
  decide(orgId: string, set: PolicySet, call: string, mode: Mode): Promise<DecidedCall>;
  /** A thread for a replay, with a set loaded; close it. Throws as {@link PolicyWorkers.load}. */
  openReplay(orgId: string, set: PolicySet): Promise<ReplayThread>;
  /** How many threads there are now. */
  threads(): number;
  /** Ends every thread. */
  close(): Promise<void>;
}

/** A thread that decides recorded calls. */
export interface ReplayThread {
  decide(payloads: readonly (string | null)[]): Promise<PolicyJobs['replay']['output']>;
  /** Gives the thread back, once; a job under way is ended with it. */
  close(): void;
}

/** How many threads, and for how long. */
export interface PolicyWorkerOptions {
  /** What a thread runs; default: the bundle beside this one. */
  readonly file?: string;
  /** Threads of each kind, short jobs and replays; default 2. */
  readonly threads?: number;
  /** Longest job; default 20,000 ms. */
  readonly deadlineMs?: number;
}

/** Jobs that may wait for a thread, over all organisations. */
const maxWaiting = 32;
/** Sets a thread may have parsed. */
const maxSets = 50;

/** Creates the pool; threads start when they are needed. */
export function createPolicyWorkers(options: PolicyWorkerOptions = {}): PolicyWorkers {
  const { threads = 2, deadlineMs = 20_000 } = options;
  const start = () => startThread(options.file ?? findWorker(), deadlineMs);
  const idle: Thread[] = [];
  const all = new Set<Thread>();
  const short = createLanes(threads, maxWaiting);
  const replays = createLanes(threads, 0);

  const take = (): Thread => {
    const thread = idle.pop() ?? start();
    all.add(thread);
    return thread;
  };
  const takeOr = (leave: () => void): Thread => {
    try {
      return take();
    } catch (error) {
      leave();
      throw error;
    }
  };
  const giveBack = (thread: Thread): void => {
    if (!thread.busy && !thread.ended && thread.sets < maxSets && idle.length < threads) idle.push(thread);
    else {
      all.delete(thread);
      void thread.end();
    }
  };
  const withThread = async <T>(orgId: string, work: (thread: Thread) => Promise<T>): Promise<T> => {
    const leave = await short.enter(orgId);
    try {
      const thread = take();
      try {
        return await work(thread);
      } finally {
        giveBack(thread);
      }
    } finally {
      leave();
    }
  };
  return {
    check: (orgId, files) => withThread(orgId, (thread) => thread.run('check', { files })),
    load: async (orgId, set) => void (await withThread(orgId, (thread) => thread.run('load', { set }))),
    decide: (orgId, set, call, mode) =>
      withThread(orgId, async (thread) => {
        await thread.run('load', { set });
        return thread.run('decide', { call, mode });
      }),
    openReplay: async (orgId, set) => {
      const leave = await replays.enter(orgId);
      const thread = takeOr(leave);
      let open = true;
      const close = () => {
        if (!open) return;
        open = false;
        giveBack(thread);
        leave();
      };
      try {
        await thread.run('load', { set });
      } catch (error) {
        close();
        throw error;
      }
      return { decide: (payloads) => thread.run('replay', { payloads }), close };
    },
    threads: () => all.size,
    close: async () => {
      await Promise.all([...all].map((thread) => thread.end()));
    },
  };
}

interface Thread {
  /** Sets it has parsed. */
  readonly sets: number;
  readonly busy: boolean;
  readonly ended: boolean;
  run<Job extends PolicyJob>(job: Job, input: PolicyJobs[Job]['input']): Promise<PolicyJobs[Job]['output']>;
  end(): Promise<void>;
}

function startThread(file: string, deadlineMs: number): Thread {
  const worker = new Worker(file, {
    // Nothing of the process's own is needed in there.
    ...{ env: {}, argv: [], execArgv: [], stdin: false },
    resourceLimits: { maxOldGenerationSizeMb: 256 },
  });
  worker.unref();
  let [sets, busy, ended] = [0, false, false];
  // Told of only while a job waits for its answer: see `ask`.
  worker.on('error', () => {
    ended = true;
  });
  worker.on('exit', () => {
    ended = true;
  });
  return {
    get sets() {
      return sets;
    },
    get busy() {
      return busy;
    },
    get ended() {
      return ended;
    },
    run: async (job, input) => {
      if (ended) throw crashed(undefined);
      if (job === 'load' || job === 'check') sets += 1;
      busy = true;
      const answer = await ask(worker, { job, input }, deadlineMs);
      busy = false;
      if (answer.ok) return answer.value as never;
      const { code, message, hint, details } = answer;
      throw new KontextError(code, message, { hint, details });
    },
    end: async () => {
      ended = true;
      await worker.terminate();
    },
  };
}

/** Waits for the answer to one message; a thread that gives none in time is left busy, and its owner ends it. */
function ask(worker: Worker, request: unknown, deadlineMs: number): Promise<JobAnswer> {
  return new Promise((resolve, reject) => {
    const settle = (done: () => void) => {
      clearTimeout(timer);
      worker.off('message', onMessage).off('error', onError).off('exit', onExit);
      done();
    };
    const onMessage = (answer: JobAnswer) => settle(() => resolve(answer));
    const onError = (cause: unknown) => settle(() => reject(crashed(cause)));
    const onExit = () => settle(() => reject(crashed(undefined)));
    const timer = setTimeout(() => settle(() => reject(tooSlow(deadlineMs))), deadlineMs);
    worker.on('message', onMessage).on('error', onError).on('exit', onExit);
    worker.postMessage(request);
  });
}

const tooSlow = (deadlineMs: number) =>
  new KontextError('KX_POLICY_SLOW', `the policy takes longer than ${deadlineMs / 1000} s`);

const crashed = (cause: unknown) =>
  new KontextError('KX_POLICY_SLOW', 'the policy ended the thread that evaluated it', { cause });

/** Lets so many in at a time, one per organisation; others wait in order, up to a number. */
function createLanes(lanes: number, maxQueue: number) {
  const inside = new Set<string>();
  const waiting: { readonly orgId: string; readonly start: () => void }[] = [];
  const fits = (orgId: string): boolean => inside.size < lanes && !inside.has(orgId);
  const leaveOf = (orgId: string) => () => {
    inside.delete(orgId);
    const next = waiting.findIndex((one) => fits(one.orgId));
    if (next >= 0) waiting.splice(next, 1)[0]?.start();
  };
  return {
    /** @returns What to call at the end. @throws KontextError `KX_POLICY_BUSY`. */
    enter: async (orgId: string): Promise<() => void> => {
      if (!fits(orgId)) {
        const own = waiting.filter((one) => one.orgId === orgId).length;
        if (waiting.length >= maxQueue || own >= maxQueue / 4) throw busy();
        await new Promise<void>((resolve) => {
          const start = () => {
            inside.add(orgId);
            resolve();
          };
          waiting.push({ orgId, start });
        });
      }
      inside.add(orgId);
      return leaveOf(orgId);
    },
  };
}

const busy = () =>
  new KontextError('KX_POLICY_BUSY', 'other policies are being evaluated, as many as there is room for');

const workerName = 'policy-worker.js';

/** Beside the bundle, or one folder up from a chunk of it. */
function findWorker(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const found = [join(here, workerName), join(here, '..', workerName)].find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new KontextError('KX_INTERNAL', 'the policy worker is missing', {
    why: `${workerName} does not lie beside the backend`,
    hint: 'install kontext again',
  });
}
