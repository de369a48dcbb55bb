import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Decision, LoadedPolicy, Mode, PolicyEngine, PolicyText, ToolCall } from '@kontext/policy';
import type { DecidingPolicy } from './hook-room.ts';

/** A policy whose signature was checked. */
export interface VerifiedPolicy {
  readonly version: number;
  /** The organisation's mode. */
  readonly mode: Mode;
  readonly policies: readonly PolicyText[];
  /** Left out for a policy of this machine, which is never stale. */
  readonly publication?: Publication;
}

/** What a signed snapshot says beside its policies. */
export interface Publication {
  /** Newest publication of the organisation when it was signed. */
  readonly seq: number;
  /** What is denied in enforce while it is stale. */
  readonly staleRule: 'deny_sensitive' | 'deny_all';
  readonly issuedAtMs: number;
  /** From then on it is stale. */
  readonly expiresAtMs: number;
}

/** The policy a session decides with: one at a time, replaced as a whole. */
export interface ActivePolicy extends DecidingPolicy {
  /** Newest publication known; 0 for a policy of this machine. */
  readonly seq: number;
  /** No snapshot was verified for longer than the last one lives. */
  readonly stale: boolean;
  /**
   * Loads the engine and the policy, which blocks for tenths of a second on a busy machine; the first decision waits for
   * it. Never rejects.
   *
   * @param isOver Asked between the steps; true ends it there.
   */
  warmUp(isOver?: () => boolean): Promise<void>;
  /**
   * Takes another snapshot. Decisions under way end with the one they began with.
   *
   * @returns Whether anything but its age is new: version, mode, policies or what is denied while it is stale.
   */
  replace(next: VerifiedPolicy): boolean;
}

/** What an active policy may be made with besides. */
export interface ActivePolicyOptions {
  /** Rules of this machine, checked; they stand after the organisation's and can only forbid more. */
  readonly local?: readonly PolicyText[];
  /** Default `Date.now`. */
  readonly nowMs?: () => number;
}

/**
 * Makes the active policy of a session. Nothing is loaded before {@link ActivePolicy.warmUp} or the first decision.
 *
 * While it is stale (design: no contact for as long as a snapshot lives), decisions go on; in enforce what a rule marks
 * sensitive, or with `deny_all` every call, is denied until the next verified snapshot.
 *
 * @param floor Mode asked for on this machine; it may raise the organisation's, never lower it.
 * @param createEngine Loads Cedar; called once.
 */
export function createActivePolicy(
  first: VerifiedPolicy,
  floor: Mode | null,
  createEngine: () => Promise<PolicyEngine>,
  { local = [], nowMs = Date.now }: ActivePolicyOptions = {},
): ActivePolicy {
  let current = first;
  let engine: Promise<PolicyEngine> | null = null;
  let ready: Promise<{ readonly engine: PolicyEngine; readonly loaded: LoadedPolicy }> | null = null;
  const mode = (): Mode => raiseMode(current.mode, floor);
  const isStale = (): boolean => nowMs() >= (current.publication?.expiresAtMs ?? Number.POSITIVE_INFINITY);

  const load = (): NonNullable<typeof ready> => {
    const { version } = current;
    const policies = addLocal(current.policies, local);
    engine ??= createEngine();
    // The backend has validated what it signs; checking again would hold the first decision up.
    ready ??= engine.then((made) => ({
      engine: made,
      loaded: made.load({ version, policies }, { validate: false }),
    }));
    return ready;
  };

  return {
    get mode() {
      return mode();
    },
    get version() {
      return current.version;
    },
    get seq() {
      return current.publication?.seq ?? 0;
    },
    get stale() {
      return isStale();
    },
    async decide(call: ToolCall): Promise<Decision> {
      const { engine: made, loaded } = await load();
      const decision = made.decide(loaded, call, mode());
      const { publication } = current;
      return publication !== undefined && isStale() ? decideStale(decision, publication, nowMs()) : decision;
    },
    async warmUp(isOver = () => false) {
      try {
        engine ??= createEngine();
        await engine;
        await nextTurn();
        if (isOver()) return;
        const { engine: made, loaded } = await load();
        await nextTurn();
        if (isOver()) return;
        made.warmUp(loaded);
        // A rule at a time: hooks are answered in between.
        do await nextTurn();
        while (!isOver() && made.study(loaded));
      } catch {
        // Every decision meets the same failure, and says it.
      }
    },
    replace(next) {
      const same = isSame(current, next);
      current = next;
      if (!same) ready = null;
      return !same;
    },
  };
}

/** In observe a stale policy decides as ever; in enforce it denies what it must not allow unrefreshed. */
function decideStale(decision: Decision, publication: Publication, nowMs: number): Decision {
  const { effect, mode, sensitive } = decision;
  const denies = publication.staleRule === 'deny_all' || sensitive;
  if (mode !== 'enforce' || effect === 'deny' || !denies) return decision;
  const minutes = Math.floor((nowMs - publication.issuedAtMs) / 60_000);
  const reason = `the policy could not be refreshed for ${minutes} minutes`;
  return { ...decision, effect: 'deny', reason, approver: null, fourEyes: false };
}

/** A rule of the organisation that has the name of a local one keeps it. */
function addLocal(policies: readonly PolicyText[], local: readonly PolicyText[]): readonly PolicyText[] {
  if (local.length === 0) return policies;
  const taken = new Set(policies.map(({ id }) => id));
  const free = (id: string): string => (taken.has(id) ? free(`local.${id}`) : id);
  return [...policies, ...local.map(({ id, text }) => ({ id: free(id), text }))];
}

const isSame = (a: VerifiedPolicy, b: VerifiedPolicy): boolean =>
  a.version === b.version &&
  a.mode === b.mode &&
  a.publication?.staleRule === b.publication?.staleRule &&
  a.policies.length === b.policies.length &&
  a.policies.every(({ id, text }, at) => b.policies[at]?.id === id && b.policies[at]?.text === text);

/** The stricter of the two. */
export const raiseMode = (organisation: Mode, floor: Mode | null): Mode =>
  organisation === 'enforce' || floor === 'enforce' ? 'enforce' : 'observe';
