import { KontextError } from '@kontext/errors';
import type { Context } from '../context.ts';
import { type Backend, openBackend } from '../rpc/open-backend.ts';

/**
 * Opens the backend, logging in first where nobody is and a person is there to do it.
 *
 * An expired login and a network failure are not handled here: they show with the first call, and only the person
 * decides to log in anew.
 *
 * @param opening The backend, where it is being opened already.
 * @throws KontextError `KX_NOT_LOGGED_IN` without a terminal, and what logging in throws.
 */
export async function openBackendOrLogIn(
  context: Context,
  opening: Promise<Backend> = openBackend(context),
): Promise<Backend> {
  try {
    return await opening;
  } catch (error) {
    const isMissing = error instanceof KontextError && error.code === 'KX_NOT_LOGGED_IN';
    if (!isMissing || !context.terminal.interactive) throw error;
    const { logIn } = await import('./log-in.ts');
    return logIn(context, { browser: true });
  }
}
