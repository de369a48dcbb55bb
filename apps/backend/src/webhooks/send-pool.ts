/**
 * Sends to many receivers at once, so that one that hangs holds up no other.
 *
 * Work is claimed in the database and done beside other work. A receiver and an organisation have only so many places; whoever
 * has them all filled is left out of the next claim.
 */

/** Whose work it is. */
export interface SendJob {
  readonly orgId: string;
  /** The webhook or the sink. */
  readonly targetId: string;
}

/** Who has no place left; a claim leaves them out. */
export interface BusyTargets {
  readonly orgIds: readonly string[];
  readonly targetIds: readonly string[];
}

/** How many jobs may run at once. */
export interface SendLimits {
  readonly total: number;
  readonly perOrg: number;
  readonly perTarget: number;
}

/** What a pool is made from. */
export interface SendPoolOptions<Job extends SendJob> {
  readonly limits: SendLimits;
  /** Takes at most `free` jobs that are due. */
  readonly claim: (free: number, busy: BusyTargets) => Promise<readonly Job[]>;
  readonly work: (job: Job) => Promise<void>;
}

/** A running pool. */
export interface SendPool {
  /**
   * Claims what is due and starts it, without waiting for it.
   *
   * @returns How many jobs were started. @throws What a job failed with since the last call, or the claim.
   */
  start(): Promise<number>;
  /** Starts what is due and waits, until nothing is due any more. Throws as {@link SendPool.start}. */
  drain(): Promise<void>;
  /** Waits for what runs. */
  close(): Promise<void>;
}

/** Creates a pool; nothing runs yet. */
export function createSendPool<Job extends SendJob>({ limits, claim, work }: SendPoolOptions<Job>): SendPool {
  const running = new Map<Promise<void>, Job>();
  const failures: unknown[] = [];
  const run = (job: Job): void => {
    const done = work(job)
      .catch((error: unknown) => void failures.push(error))
      .finally(() => void running.delete(done));
    running.set(done, job);
  };
  const throwFailure = (): void => {
    const [first] = failures.splice(0);
    if (first !== undefined) throw first;
  };
  const start = async (): Promise<number> => {
    throwFailure();
    const free = limits.total - running.size;
    if (free <= 0) return 0;
    const jobs = await claim(free, busyOf([...running.values()], limits));
    for (const job of jobs) run(job);
    return jobs.length;
  };
  return {
    start,
    drain: async () => {
      while ((await start()) > 0 || running.size > 0) await Promise.race(running.keys());
      throwFailure();
    },
    close: async () => void (await Promise.all(running.keys())),
  };
}

function busyOf(jobs: readonly SendJob[], { perOrg, perTarget }: SendLimits): BusyTargets {
  return {
    orgIds: atLeast(
      jobs.map(({ orgId }) => orgId),
      perOrg,
    ),
    targetIds: atLeast(
      jobs.map(({ targetId }) => targetId),
      perTarget,
    ),
  };
}

function atLeast(ids: readonly string[], limit: number): string[] {
  const counts = new Map<string, number>();
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  return [...counts].filter(([, count]) => count >= limit).map(([id]) => id);
}
