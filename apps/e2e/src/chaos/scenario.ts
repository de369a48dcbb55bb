import type { Counts } from './ledger.ts';

/** How a scenario is run. */
export interface ChaosOptions {
  /** Faults of one kind in a row: few in `npm test`, many in `npm run chaos`. */
  readonly rounds: number;
  /** Shortest time that a scenario under load takes, in seconds. */
  readonly seconds: number;
}

/** What came of it: the counts, the offline verifier's word, and figures of the scenario's own. */
export interface ChaosResult extends Counts {
  /** Exit code of `kontext audit verify` on an export of the whole store, with nothing else at hand; 0 is clean. */
  readonly verify: number;
  readonly figures: Readonly<Record<string, number | string>>;
}

/** One row of the table of faults. */
export interface Scenario {
  readonly name: string;
  /** What must hold, in a sentence. */
  readonly promise: string;
  /** Runs in `npm test`, too. */
  readonly isQuick: boolean;
  /** Why it cannot run on this machine; empty when it can. */
  readonly skip: () => string;
  /** @throws Error when something that must hold does not. */
  readonly run: (options: ChaosOptions) => Promise<ChaosResult>;
}

/** Whether a result keeps what is promised for every fault: nothing lost, nothing doubled, and it verifies. */
export const isKept = ({ lost, doubled, verify }: ChaosResult): boolean =>
  lost === 0 && doubled === 0 && verify === 0;

/** Throws with the sentence when it does not hold. */
export function must(holds: boolean, sentence: string): void {
  if (!holds) throw new Error(`must hold: ${sentence}`);
}
