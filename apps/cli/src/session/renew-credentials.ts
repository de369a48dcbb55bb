/**
 * Keeps the credentials of a session fresh: each is renewed when 80 % of its life is over, or when somebody asks for one that
 * is over already. One request at a time, for everything that is due; failures are repeated with growing pauses.
 *
 * A new value is hidden from everything that is recorded before anybody can get it.
 */
import { KontextError } from '@kontext/errors';
import type { Secret } from '@kontext/redaction';
import type { Calls } from '../rpc/calls.ts';
import type { HeldCredential, HeldCredentials } from './held-credentials.ts';
import { readOutcome, toWirePlaceholder } from './resolve-placeholders.ts';

/** What renewing needs. */
export interface RenewalOptions {
  readonly calls: Pick<Calls, 'renewCredentials'>;
  readonly sessionId: string;
  readonly held: HeldCredentials;
  /** Adds values to what is searched for in everything that is stored; returns once that holds. */
  readonly hide: (values: readonly Secret[]) => void;
  /** Told of each answer: hash of the newest event on the server stream (32 bytes). */
  readonly onServerEvent?: (hash: Uint8Array) => void;
  /** 0 to 1; default `Math.random`. */
  readonly random?: () => number;
}

/** The renewals of a session. */
export interface Renewals {
  /** Begins to watch; renews what is due now and then. */
  start(): void;
  /** Looks now: the machine may have slept. */
  check(): void;
  /**
   * Renews what is over, and waits for it.
   *
   * @returns Whether the newest of each is alive now.
   */
  renewNow(keys: readonly string[]): Promise<boolean>;
  /** What last went wrong, until something went well; null when nothing did. */
  trouble(): KontextError | null;
  stop(): void;
}

/** Part of a credential's life after which it is renewed; up to a tenth of the rest earlier. */
const renewAfter = 0.8;
/** Longest time between two looks: timers stand still while a laptop sleeps. */
const longestWaitMs = 30_000;
/** Shortest: a provider whose tokens live for a second is not asked without end. */
const shortestWaitMs = 500;
/** Due so soon that it goes with the others. */
const togetherMs = 5_000;
const [firstPauseMs, longestPauseMs] = [1_000, 60_000];
/** What is not given now will not be given in a second either. */
const withheldPauseMs = 60_000;

/** Makes the renewals; nothing happens before `start`. */
export function createRenewals(options: RenewalOptions): Renewals {
  const { held, random = Math.random } = options;
  const jitter = random();
  const finished = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | null = null;
  let failures = 0;
  let notBefore = 0;
  let trouble: KontextError | null = null;
  let stopped = false;

  const dueInMs = ({ credential: { leaseId, expiresInSeconds, kind }, ageMs }: HeldCredential): number => {
    if (expiresInSeconds === null || finished.has(leaseId) || kind === 'static' || kind === 'token')
      return Infinity;
    const lifeMs = expiresInSeconds * 1000;
    return lifeMs * (renewAfter - 0.1 * (1 - renewAfter) * jitter) - ageMs();
  };
  const plan = (): void => {
    clearTimeout(timer);
    if (stopped) return;
    const due = Math.min(longestWaitMs, ...held.list().map(dueInMs));
    const pause = notBefore - performance.now();
    timer = setTimeout(look, Math.max(shortestWaitMs, due, Math.min(pause, longestPauseMs))).unref();
  };
  const look = (): void => {
    const isDue = (one: HeldCredential) => dueInMs(one) <= 0;
    if (performance.now() < notBefore || !held.list().some(isDue)) {
      plan();
      return;
    }
    void run(held.list().filter((one) => dueInMs(one) <= togetherMs)).finally(plan);
  };
  const note = (error: unknown): void => {
    trouble = error instanceof KontextError ? error : new KontextError('KX_INTERNAL', 'renewing failed');
    if (trouble.code === 'KX_SESSION_ENDED') {
      held.clear();
      stopped = true;
    }
    const pause = Math.min(firstPauseMs * 2 ** Math.min(failures, 20), longestPauseMs);
    failures += 1;
    const pauseMs = trouble.code === 'KX_RENEWAL_WITHHELD' ? withheldPauseMs : pause;
    notBefore = performance.now() + pauseMs * (0.75 + random() / 4);
  };
  const takeAnswers = (answers: readonly Answer[]): void => {
    const { finishedLeases, passing, lasting } = takeEach(held, answers);
    for (const leaseId of finishedLeases) finished.add(leaseId);
    if (passing !== null) {
      note(passing);
      return;
    }
    failures = 0;
    notBefore = 0;
    trouble = lasting;
  };
  const once = async (due: readonly HeldCredential[]): Promise<void> => {
    try {
      takeAnswers(await renew(options, due));
    } catch (error) {
      note(error);
    }
  };
  const run = (due: readonly HeldCredential[]): Promise<void> => {
    if (stopped || due.length === 0) return Promise.resolve();
    running ??= once(due).finally(() => {
      running = null;
    });
    return running;
  };
  const isOver = (key: string): boolean => {
    const one = held.get(key);
    return one === undefined || (one.leftMs() ?? 1) <= 0;
  };
  return {
    start: plan,
    check: look,
    trouble: () => trouble,
    async renewNow(keys) {
      // Whoever joins a request that is under way may have asked for something else: then once more.
      for (let turn = 0; turn < 2 && keys.some(isOver) && performance.now() >= notBefore; turn += 1) {
        const over = keys.filter(isOver).flatMap((key) => held.get(key) ?? []);
        await run(over);
      }
      plan();
      return !keys.some(isOver);
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

interface Answer {
  readonly one: HeldCredential;
  /** Null: it was renewed. */
  readonly error: KontextError | null;
}

/**
 * Acts on what was refused: what was taken back is forgotten, what has no successor is left in peace.
 *
 * @returns `passing`: a failure that may pass; `lasting`: one that is worth a word.
 */
function takeEach(held: HeldCredentials, answers: readonly Answer[]) {
  const finishedLeases: string[] = [];
  let passing: KontextError | null = null;
  let lasting: KontextError | null = null;
  for (const { one, error } of answers) {
    const { leaseId } = one.credential;
    if (error === null) continue;
    if (error.code === 'KX_NOTHING_TO_RENEW') finishedLeases.push(leaseId);
    else if (error.code === 'KX_LEASE_ENDED' || error.code === 'KX_NOT_FOUND') {
      lasting = error;
      if (held.get(one.placeholder.key)?.credential.leaseId === leaseId) held.drop(one.placeholder.key);
    } else passing = error;
  }
  return { finishedLeases, passing, lasting };
}

/** One request; what came is held before this returns. */
async function renew(
  { calls, sessionId, held, hide, onServerEvent }: RenewalOptions,
  due: readonly HeldCredential[],
): Promise<readonly Answer[]> {
  const { results = [], serverEventHash = '' } = await calls.renewCredentials({
    sessionId,
    leaseIds: due.map(({ credential }) => credential.leaseId),
    placeholders: due.map(({ placeholder }) => toWirePlaceholder(placeholder)),
  });
  if (results.length !== due.length) {
    throw new KontextError('KX_NOT_A_BACKEND', 'the backend answered for other leases than asked');
  }
  const outcomes = due.map((one, i) => ({ one, outcome: readOutcome(one.placeholder, results[i] ?? {}) }));
  hide(outcomes.flatMap(({ outcome }) => (outcome.ok ? [outcome.credential.value] : [])));
  for (const { one, outcome } of outcomes) if (outcome.ok) held.put(one.placeholder, outcome.credential);
  const hash = Buffer.from(serverEventHash, 'base64');
  if (hash.length > 0) onServerEvent?.(hash);
  return outcomes.map(({ one, outcome }) => ({
    one,
    error: outcome.ok
      ? null
      : new KontextError(outcome.failure.code, outcome.failure.message, { hint: outcome.failure.hint }),
  }));
}
