import { isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';

/**
 * Where a watch stands: leaves of the log before `nextLeaf` were sent, and of some streams events that are not in the log yet, up
 * to a seq. The log is a total order without gaps, so nothing can enter before `nextLeaf` later on.
 */
export interface WatchState {
  /** Events received before it are none of this watch's. */
  readonly startMs: number;
  readonly sessionId: string | null;
  nextLeaf: number;
  readonly sent: Map<string, number>;
}

/** Most streams of which events were sent before they entered the log; more than a log gets in a second or two. */
export const maxSentStreams = 2000;
/** A batch can add as many again. */
const maxEntries = 2 * maxSentStreams;
const maxCursorLength = 400_000;

/** Opaque to callers. It says nothing that the caller has not seen. */
export function sealWatchCursor({ startMs, sessionId, nextLeaf, sent }: WatchState): string {
  return Buffer.from(JSON.stringify([1, startMs, sessionId, nextLeaf, [...sent]])).toString('base64url');
}

/**
 * Reads a cursor of {@link sealWatchCursor}.
 *
 * @throws KontextError `KX_REQUEST_INVALID` when it is not one, or is of a watch of another session.
 */
export function openWatchCursor(text: string, sessionId: string | null): WatchState {
  const [version, startMs, session, nextLeaf, sent] = fieldsOf(text);
  const isOurs = version === 1 && isCount(startMs) && isCount(nextLeaf) && Array.isArray(sent);
  if (!isOurs || sent.length > maxEntries || !sent.every(isEntry)) {
    throw new KontextError('KX_REQUEST_INVALID', 'cursor is not one of ours');
  }
  if (session !== sessionId) {
    throw new KontextError('KX_REQUEST_INVALID', 'cursor is of a watch of something else');
  }
  return { startMs, sessionId, nextLeaf, sent: new Map(sent) };
}

function fieldsOf(text: string): unknown[] {
  try {
    const value: unknown =
      text.length > maxCursorLength ? null : JSON.parse(Buffer.from(text, 'base64url').toString());
    return Array.isArray(value) ? value : [];
  } catch {
    return [];
  }
}

const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= 8.64e15;

const isEntry = (value: unknown): value is [string, number] =>
  Array.isArray(value) && value.length === 2 && isId('str', String(value[0])) && isCount(value[1]);
