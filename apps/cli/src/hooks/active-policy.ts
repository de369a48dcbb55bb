import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Decision, LoadedPolicy, Mode, PolicyEngine, PolicyText, ToolCall } from '@kontext/policy';
import type { DecidingPolicy } from './decide-and-record.ts';

/** A policy whose signature was checked. */
export interface VerifiedPolicy {
  readonly version: number;
  /** The organisation's mode. */
  readonly mode: Mode;
  readonly policies: readonly PolicyText[];
}

/** The policy a session decides with: one at a time, replaced as a whole. */
export interface ActivePolicy extends DecidingPolicy {
  /**
   * Loads the engine and the policy, which blocks for tenths of a second on a busy machine; the first decision waits for
   * it. Never rejects.
   *
   * @param isOver Asked between the steps; true ends it there.
   */
  warmUp(isOver?: () => boolean): Promise<void>;
  /** Takes another version. Decisions under way end with the one they began with. */
  replace(next: VerifiedPolicy): void;
}

/**
 * Makes the active policy of a session. Nothing is loaded before {@link ActivePolicy.warmUp} or the first decision.
 *
 * @param floor Mode asked for on this machine; it may raise the organisation's, never lower it.
 * @param createEngine Loads Cedar; called once.
 */
export function createActivePolicy(
  first: VerifiedPolicy,
  floor: Mode | null,
  createEngine: () => Promise<PolicyEngine>,
): ActivePolicy {
  let current = first;
  let engine: Promise<PolicyEngine> | null = null;
  let ready: Promise<{ readonly engine: PolicyEngine; readonly loaded: LoadedPolicy }> | null = null;
  const mode = (): Mode => raiseMode(current.mode, floor);

  const load = (): NonNullable<typeof ready> => {
    const { version, policies } = current;
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
    async decide(call: ToolCall): Promise<Decision> {
      const { engine: made, loaded } = await load();
      return made.decide(loaded, call, mode());
    },
    async warmUp(isOver = () => false) {
      try {
        engine ??= createEngine();
        await engine;
        await nextTurn();
        if (isOver()) return;
        const { engine: made, loaded } = await load();
        await nextTurn();
        if (!isOver()) made.warmUp(loaded);
      } catch {
        // Every decision meets the same failure, and says it.
      }
    },
    replace(next) {
      current = next;
      ready = null;
    },
  };
}

/** The stricter of the two. */
export const raiseMode = (organisation: Mode, floor: Mode | null): Mode =>
  organisation === 'enforce' || floor === 'enforce' ? 'enforce' : 'observe';
