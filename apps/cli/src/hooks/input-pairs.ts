import { createHash } from 'node:crypto';
import { canonicalJson } from './canonical-json.ts';

/** How a result goes with what was proposed. */
export type PairResult =
  | 'same'
  /** The call ran with another input than the one that was decided. */
  | 'changed'
  /** No call of this id was proposed. */
  | 'unknown'
  /** The call was denied, and yet it ran. */
  | 'denied'
  /** Its end has been told before. */
  | 'again';

/** Remembers what each tool call was proposed with, to tell when another hook changed it before it ran. */
export interface InputPairs {
  /** Notes the input of a proposed call. */
  propose(toolUse: string, tool: string, input: unknown): void;
  /** Notes that it was denied. */
  deny(toolUse: string): void;
  /**
   * Notes that the user is asked about calls of this tool with this input; the agent names no id there. What the prompt lets
   * the user change is no difference from then on.
   */
  ask(tool: string, input: unknown): void;
  /** Tells how a result goes with its proposal. @param hasRun False for a call that failed, also before it began. */
  end(toolUse: string, tool: string, input: unknown, hasRun: boolean): PairResult;
}

interface Pair {
  readonly whole: string;
  readonly steady: string;
  state: 'open' | 'asked' | 'denied' | 'ended';
}

/**
 * Keeps hashes of the unredacted input, in memory only: values that are secret must count as a difference too.
 *
 * @param steadyInput The part of an input that stays whatever the user answers.
 * @param limit Calls kept at a time, default 16,384; those that have ended are forgotten first, then the oldest.
 */
export function createInputPairs(
  steadyInput: (tool: string, input: unknown) => unknown = (_tool, input) => input,
  limit = 16_384,
): InputPairs {
  const pairs = new Map<string, Pair>();
  const wholeOf = (tool: string, input: unknown): string => hash([tool, input]);
  const forgetSome = (): void => {
    const spare = [...pairs].filter(([, { state }]) => state === 'ended' || state === 'denied');
    const old = (spare.length > 0 ? spare : [...pairs]).slice(0, Math.ceil(limit / 16));
    for (const [toolUse] of old) pairs.delete(toolUse);
  };
  return {
    propose(toolUse, tool, input) {
      pairs.delete(toolUse);
      if (pairs.size >= limit) forgetSome();
      const steady = hash([tool, steadyInput(tool, input)]);
      pairs.set(toolUse, { whole: wholeOf(tool, input), steady, state: 'open' });
    },
    deny(toolUse) {
      const pair = pairs.get(toolUse);
      if (pair !== undefined) pair.state = 'denied';
    },
    ask(tool, input) {
      const whole = wholeOf(tool, input);
      for (const pair of pairs.values()) {
        if (pair.state === 'open' && pair.whole === whole) pair.state = 'asked';
      }
    },
    end(toolUse, tool, input, hasRun) {
      const pair = pairs.get(toolUse);
      if (pair === undefined) return 'unknown';
      const { state } = pair;
      if (state === 'ended') return 'again';
      if (state === 'denied' && !hasRun) return 'same';
      pair.state = 'ended';
      if (state === 'denied') return 'denied';
      const isSame = pair.whole === wholeOf(tool, input);
      const isAnswered = state === 'asked' && pair.steady === hash([tool, steadyInput(tool, input)]);
      return isSame || isAnswered ? 'same' : 'changed';
    },
  };
}

const hash = (value: unknown): string => createHash('sha256').update(canonicalJson(value)).digest('base64');
