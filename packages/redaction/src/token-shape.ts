import type { CharClass } from './runs.ts';

/** A token that says by its first characters what it is. */
export interface TokenShape {
  readonly id: string;
  /** Spelled as issued, case included. */
  readonly prefixes: readonly string[];
  /** What follows the prefix. */
  readonly body: CharClass;
  readonly min: number;
  /** Given when the format fixes the length: then a longer run is something else. */
  readonly max?: number;
  /** The prefix must not stand inside a word. */
  readonly border?: boolean;
  /** A further look at the body, of which it gets the first 512 characters. */
  readonly check?: (body: string) => boolean;
}
