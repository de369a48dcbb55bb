/** How far a confirmation has come, and why one is refused. */
import { KontextError } from '@kontext/errors';
import type { ConfirmationRow } from '../store/queries/confirmations.ts';

/** How far a confirmation has come. */
export type ConfirmationState = 'pending' | 'confirmed' | 'denied' | 'used' | 'expired';

/** Why a confirmation was not used. What is not the caller's looks like what does not exist. */
export function explain(
  row: ConfirmationRow | null,
  use: { readonly requestHashes: readonly string[]; readonly requesterGrantHash: string },
  nowMs: number,
): KontextError {
  if (row === null) return invalid('unknown', 'there is no such confirmation of yours');
  if (row.requesterGrantHash !== use.requesterGrantHash) {
    return invalid('other_login', 'another login asked for it');
  }
  if (!use.requestHashes.includes(row.requestHash)) {
    return invalid('other_request', 'another request was confirmed');
  }
  return refusalOf(stateAt(row, nowMs));
}

/** The refusal of a confirmation in a state in which it can be neither used nor decided. */
export function refusalOf(state: ConfirmationState): KontextError {
  switch (state) {
    case 'denied':
      return new KontextError('KX_CONFIRMATION_DENIED', 'the action was denied in the browser', {
        details: { failure_reason: 'denied' },
      });
    case 'expired':
      return new KontextError('KX_CONFIRMATION_EXPIRED', 'the confirmation has expired', {
        details: { failure_reason: 'expired' },
      });
    case 'pending':
      return invalid('pending', 'nobody has confirmed it yet');
    default:
      return invalid(state, state === 'used' ? 'it was used before' : 'it was decided before');
  }
}

const invalid = (reason: string, why: string): KontextError =>
  new KontextError('KX_CONFIRMATION_INVALID', 'the confirmation cannot be used', {
    why,
    details: { failure_reason: reason },
  });

/** The refusal to whoever asks for one that is not theirs, or does not exist. */
export const notFound = (): KontextError =>
  new KontextError('KX_NOT_FOUND', 'there is no such confirmation, or it is not yours');

/** The stored state, but `expired` once its time is over. */
export function stateAt(row: ConfirmationRow, nowMs: number): ConfirmationState {
  const isOver = row.expiresAt.getTime() <= nowMs;
  return isOver && (row.state === 'pending' || row.state === 'confirmed') ? 'expired' : row.state;
}
