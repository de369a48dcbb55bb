import { askSelf } from './ask-server.ts';
import { daemonSocketPath } from './daemon-place.ts';

/** What the running daemon says of itself. */
export interface DaemonFacts {
  readonly version: string;
  readonly pid: number;
  /** What its hooks were set up with; an organisation may have raised a session's mode above it. */
  readonly mode: 'observe' | 'enforce';
  /** Conversations it decides for. */
  readonly sessions: number;
  /** Events that could not be recorded, since it was started. */
  readonly unrecorded: number;
  /** Why the last session could not be opened; null when the last one was. */
  readonly trouble: string | null;
}

/**
 * Asks the daemon; null when none answers.
 *
 * @param maxWaitMs Default 5,000: one that opens a session may be busy, and must not be taken for one that is gone, which
 *   is known at once.
 */
export async function readDaemonFacts(runtimeDir: string, maxWaitMs = 5_000): Promise<DaemonFacts | null> {
  const said = (await askSelf(daemonSocketPath(runtimeDir), maxWaitMs))?.daemon;
  if (typeof said !== 'object' || said === null) return null;
  const { version, pid, mode, sessions, unrecorded, trouble } = said as Readonly<Record<string, unknown>>;
  if (typeof version !== 'string' || typeof pid !== 'number') return null;
  return {
    version,
    pid,
    mode: mode === 'observe' ? 'observe' : 'enforce',
    sessions: Number(sessions ?? 0),
    unrecorded: Number(unrecorded ?? 0),
    trouble: typeof trouble === 'string' ? trouble : null,
  };
}
