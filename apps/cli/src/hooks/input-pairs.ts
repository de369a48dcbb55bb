import { createHash } from 'node:crypto';

/** Remembers what each tool call was proposed with, to tell when another hook changed it before it ran. */
export interface InputPairs {
  /** Notes the input of a proposed call. */
  propose(toolUse: string, input: unknown): void;
  /**
   * Compares with what was proposed, and forgets it.
   *
   * @returns True when both are known and differ.
   */
  differs(toolUse: string, input: unknown): boolean;
}

/**
 * Keeps hashes of the unredacted input, in memory only: values that are secret must count as a difference too.
 *
 * @param limit Calls kept at a time, default 4,096; the oldest are forgotten first.
 */
export function createInputPairs(limit = 4096): InputPairs {
  const proposed = new Map<string, string>();
  return {
    propose(toolUse, input) {
      proposed.delete(toolUse);
      proposed.set(toolUse, canonicalHash(input));
      for (const oldest of proposed.keys()) {
        if (proposed.size <= limit) break;
        proposed.delete(oldest);
      }
    },
    differs(toolUse, input) {
      const before = proposed.get(toolUse);
      proposed.delete(toolUse);
      return before !== undefined && before !== canonicalHash(input);
    },
  };
}

/** Key order is no difference. Depth is bounded by the caller. */
function canonicalHash(value: unknown): string {
  const text = JSON.stringify(value, (_key, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
  return createHash('sha256')
    .update(text ?? 'undefined')
    .digest('base64');
}
