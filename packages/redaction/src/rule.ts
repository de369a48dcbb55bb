import type { Glance } from './glance.ts';
import type { Scan } from './scan.ts';

/** One rule of the pattern set. */
export interface Rule {
  /** Its name in the table of `pattern-set.ts`. */
  readonly id: string;
  /** Words that must stand in the text for the rule to be asked, in lower case; found in any case. */
  readonly anchors: readonly string[];
  /**
   * Looks around an anchor and marks what must go.
   *
   * Looks through `scan.runs`, or at a bounded number of characters, or returns how far it looked, so that all calls
   * together cost no more than a multiple of the text's length.
   *
   * @param start First character of the anchor.
   * @param end One past its last.
   * @returns The rule is not asked again for anchors that begin before this index; 0 when it may be.
   */
  match(scan: Scan, start: number, end: number): number;
  /**
   * Whether the rule may find anything at an anchor, asked of a text whose escapes are not read: false only when it finds
   * nothing there in any reading of them. Without it, it may.
   */
  mayMatch?(glance: Glance, start: number, end: number): boolean;
}
