import { createEventChecker } from '@kontext/testkit';
import type { TailedEvent } from './follow-audit.ts';

/** What is wrong with events by docs/audit-events.md, a line each. Not for bundles: it reads the schema out of the repository. */
export function findUndocumented(events: readonly Pick<TailedEvent, 'header' | 'payload'>[]): string[] {
  const check = createEventChecker();
  return events.flatMap(({ header, payload }) => check(header, payload));
}
