import { KontextError } from '@kontext/errors';

/** The one error of this room for bytes that are not an event: `why` says what is wrong with them. */
export function eventInvalid(why: string, cause?: unknown): KontextError {
  return new KontextError('KX_EVENT_INVALID', 'an audit event is not well formed', { why, cause });
}
