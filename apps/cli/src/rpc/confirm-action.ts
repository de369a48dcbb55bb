import { setTimeout as sleep } from 'node:timers/promises';
import { type ErrorCode, KontextError } from '@kontext/errors';
import { ConfirmationState, type GetConfirmationResponse } from '@kontext/protocol';
import type { Config } from '../config.ts';
import { Interrupted } from '../interrupted.ts';
import { openBrowser } from '../login/open-browser.ts';
import { refuseInSession } from '../session/refuse-in-session.ts';
import type { Terminal } from '../terminal.ts';

/** Request header in which the id of a confirmation goes back. */
export const confirmationHeader = 'kontext-confirmation';

/** How a person is asked. */
export interface ConfirmActionOptions {
  readonly config: Pick<
    Config,
    'hasDisplay' | 'browser' | 'environment' | 'sessionId' | 'waitConfirmation' | 'args'
  >;
  readonly terminal: Terminal;
  /** Longest wait between two looks; default what the backend says. */
  readonly pollMs?: number;
}

/** One action that waits for a person. */
export interface PendingAction {
  /** The backend's refusal, with the code `KX_CONFIRMATION_NEEDED`. */
  readonly refusal: KontextError;
  /** Looks how far the confirmation has come. */
  readonly look: (
    confirmationId: string,
    signal?: AbortSignal,
  ) => Promise<Pick<GetConfirmationResponse, 'state' | 'interval'>>;
  readonly signal?: AbortSignal | undefined;
}

/** Gets a person's confirmation; gives its id. */
export type ConfirmAction = (action: PendingAction) => Promise<string>;

/** Longest a confirmation lives at the backend. */
const longestWaitMs = 600_000;

/**
 * Makes what asks a person to confirm an action in the browser (RFC 9470): shows what and where, opens the link where there
 * is a display, and waits.
 *
 * @throws KontextError `KX_CONFIRMATION_NEEDED` (77) at once without a terminal, unless `--wait-confirmation`;
 *   `KX_SESSION_REFUSED` inside a session; `KX_CONFIRMATION_DENIED`, `KX_CONFIRMATION_EXPIRED` when that became of it.
 */
export function createConfirmAction(options: ConfirmActionOptions): ConfirmAction {
  const { config, terminal } = options;
  return async (action) => {
    const { refusal } = action;
    const uri = String(refusal.details.confirm_uri ?? '');
    const id = String(refusal.details.confirmation_id ?? '');
    if (uri === '' || id === '') throw refusal;
    refuseInSession({ config });
    terminal.say(refusal.message);
    terminal.say(`open this link to confirm: ${uri}`);
    if (!terminal.interactive && !config.waitConfirmation) throw nobodyWaits(refusal, config.args);
    if (terminal.interactive && config.hasDisplay) openBrowser(uri, config);
    await waitConfirmed(options, action, id);
    return id;
  };
}

async function waitConfirmed(
  { terminal, pollMs }: ConfirmActionOptions,
  { look, signal }: PendingAction,
  id: string,
): Promise<void> {
  const until = performance.now() + longestWaitMs;
  try {
    while (performance.now() < until) {
      const { state, interval } = await lookPatiently(look, id, signal);
      if (state === ConfirmationState.CONFIRMED) return;
      if (state !== ConfirmationState.PENDING) throw endOf(state);
      const left = Math.ceil((until - performance.now()) / 1000);
      terminal.status(
        `waiting for the confirmation … ${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')} left`,
      );
      await sleep(pollMs ?? Math.max(1, interval) * 1000, undefined, signal ? { signal } : {});
    }
  } catch (error) {
    if (signal?.aborted) throw new Interrupted();
    throw error;
  } finally {
    terminal.status(null);
  }
  throw endOf(ConfirmationState.EXPIRED);
}

/** A backend that is away for a moment ends no wait: the person may be confirming just now. */
const passing: ReadonlySet<ErrorCode> = new Set([
  'KX_BACKEND_UNREACHABLE',
  'KX_TEMPORARY',
  'KX_RATE_LIMITED',
]);

async function lookPatiently(
  look: PendingAction['look'],
  id: string,
  signal: AbortSignal | undefined,
): Promise<Pick<GetConfirmationResponse, 'state' | 'interval'>> {
  try {
    return await look(id, signal);
  } catch (error) {
    if (!(error instanceof KontextError) || !passing.has(error.code)) throw error;
    return { state: ConfirmationState.PENDING, interval: 2 };
  }
}

function endOf(state: ConfirmationState): KontextError {
  switch (state) {
    case ConfirmationState.DENIED:
      return new KontextError('KX_CONFIRMATION_DENIED', 'the action was denied in the browser');
    case ConfirmationState.USED:
      return new KontextError('KX_CONFIRMATION_INVALID', 'the confirmation was used by somebody else');
    default:
      return new KontextError('KX_CONFIRMATION_EXPIRED', 'nobody confirmed the action in time');
  }
}

const nobodyWaits = (refusal: KontextError, args: readonly string[]): KontextError =>
  new KontextError('KX_CONFIRMATION_NEEDED', 'a person has to confirm this in a browser', {
    why: 'there is no terminal to wait at',
    hint: `run \`kontext --wait-confirmation ${args.map(quoteWord).join(' ')}\` and open the link it prints`,
    details: refusal.details,
  });

/** A word as a shell reads it back. */
const quoteWord = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
