import type { EventFields } from '@kontext/audit';

/** What stands in the spool before the answer: everything of the event but its payload. */
export type IntentFields = Pick<EventFields, 'kind'> &
  Partial<Pick<EventFields, 'tool' | 'toolUse' | 'decision' | 'rule' | 'policyVersion' | 'mode'>> & {
    /** The approval by which a person let the call run, or did not. */
    readonly lineage?: { readonly approval: string };
  };

/** In place of a payload that the organisation does not keep: the event has none, and misses none. */
export const leftOut = Symbol('left out');

/**
 * Takes the rest of an event whose intent was written. Called exactly once, after the answer.
 *
 * @param payload Null when there should be one and is not.
 */
export type WriteRecord = (payload: string | null | typeof leftOut) => void;

/** Where the hook server writes its events: the spool, or a list in a test. */
export interface EventSink {
  /**
   * Writes the intent line, unsynced.
   *
   * @returns How to write the record; null when the sink is full and the event was counted as lost.
   */
  intend(fields: IntentFields): WriteRecord | null;
  /** Whether new tool calls can still be recorded. */
  readonly full: boolean;
}
