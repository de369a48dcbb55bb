/**
 * Why a recorded decision says nothing about what its policy would decide; null when it does.
 *
 * @param payload What was recorded beside the event; null when nothing was, or it was erased since.
 */
export function whyNotReproducible(payload: Readonly<Record<string, unknown>> | null): string | null {
  if (payload === null || payload.call === undefined) return 'the call was not recorded';
  if (payload.policyStale === true) return 'the policy was stale when it was decided';
  if (payload.failure !== undefined) return 'the policy could not be evaluated when it was decided';
  if (payload.callRedacted === true) return 'a secret was taken out of the call before it was recorded';
  if (payload.opaque !== undefined) return 'the call could not be read when it was made';
  return null;
}
