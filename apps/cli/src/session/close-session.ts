import { KontextError } from '@kontext/errors';
import type { Terminal } from '../terminal.ts';
import type { OpenSession, SessionClose } from './open-session.ts';
import type { SessionHooks } from './session-hooks.ts';
import { describeEnd, describeLiving } from './session-lines.ts';

/** Longest time the person waits for their prompt. */
const closeMs = 2_000;
/** Share of it for events; the rest is for telling the backend that the session has ended. */
const flushMs = 1_500;

/**
 * Sends the last events, ends the session, says how it went. Within 2 s: what is not sent then waits in the spool.
 */
export async function closeSession(options: {
  readonly session: OpenSession;
  readonly hooks: SessionHooks;
  readonly exitCode: number;
  readonly startedAtMs: number;
  readonly terminal: Pick<Terminal, 'note' | 'warn'>;
}): Promise<void> {
  const { session, hooks, exitCode, startedAtMs, terminal } = options;
  const endedAtMs = Date.now();
  hooks.checkSettings();
  const missed = hooks.countMissed();
  const sent = await hooks.close(flushMs);
  const leftMs = closeMs - (Date.now() - endedAtMs);
  const told = await within(leftMs, session.end(exitCode));
  if (missed > 0) terminal.warn(`${missed} hook calls could not be recorded`);
  const upload = hooks.upload();
  if (upload.kind === 'stopped') {
    terminal.warn(
      `events are no longer sent: ${upload.error.message}: ${upload.error.why} (${upload.error.code})`,
    );
  } else if (!sent) {
    const why = upload.kind === 'waiting' && upload.error instanceof KontextError ? upload.error.code : null;
    terminal.warn(`some events could not be sent; the next session sends them${why ? ` (${why})` : ''}`);
  } else if (hooks.pauses() > 0) {
    terminal.note(`events waited for the backend ${hooks.pauses()} time(s); all were sent`);
  }
  if (told === null)
    terminal.warn('the backend was not told that the session ended; its credentials end when they expire');
  for (const line of describeLiving(told?.living ?? [], Date.now())) terminal.note(line);
  terminal.note(describeEnd(hooks.counts, endedAtMs - startedAtMs));
}

async function within(ms: number, work: Promise<SessionClose | null>): Promise<SessionClose | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), Math.max(0, ms));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
