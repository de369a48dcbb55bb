import type { EventHeader } from './event-header.ts';

/** The columns a store keeps beside a header to search by; null and the empty string mean the same. */
export interface StoredColumns {
  readonly eventId: string | null;
  readonly kind: string | null;
  readonly sessionId: string | null;
  readonly userId: string | null;
  readonly tool: string | null;
  readonly decision: string | null;
}

/**
 * A text of a header as a column can hold it: NUL does not fit a Postgres `text`, and a lone surrogate has no UTF-8 form.
 * Both stand in the header as JSON escapes; in the column, which is for search alone, they become U+FFFD.
 */
export const toColumnText = (text: string | null): string | null =>
  text === null ? null : text.replace(/\0|\p{Surrogate}/gu, '\ufffd');

/** The one way these columns follow from a header: the store fills them with it, the verifier compares with it. */
export function deriveColumns(header: EventHeader): StoredColumns {
  const { id, kind, session, user, tool, decision } = header;
  return { eventId: id, kind, sessionId: session, userId: user, tool: toColumnText(tool), decision };
}

const columnNames = [
  ...(['eventId', 'kind', 'sessionId', 'userId', 'tool', 'decision'] as const),
] as const satisfies readonly (keyof StoredColumns)[];

/** Name of the first column that does not follow from the header, or null. */
export function findWrongColumn(header: EventHeader, stored: StoredColumns): keyof StoredColumns | null {
  const derived = deriveColumns(header);
  return columnNames.find((name) => (derived[name] ?? '') !== (stored[name] ?? '')) ?? null;
}
