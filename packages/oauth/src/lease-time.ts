/**
 * Longest life of a lease in seconds: the least of all that bound it.
 *
 * @param providerTtlSeconds What the provider's entry says; 0 means nothing.
 * @param subjectLeftSeconds What the token or lease it is exchanged from has left; null means no bound.
 */
export function leaseCap(
  agentMaxSeconds: number,
  providerTtlSeconds: number,
  subjectLeftSeconds: number | null,
): number {
  const provider = providerTtlSeconds > 0 ? providerTtlSeconds : agentMaxSeconds;
  return Math.max(0, Math.min(agentMaxSeconds, provider, subjectLeftSeconds ?? agentMaxSeconds));
}

/**
 * How long an issued upstream token may be used, in whole seconds: its own rest less 30 s, at most the lease cap.
 *
 * @param upstreamLeftSeconds Counted from our own receive time; null when unknown, which is not infinite: the cap then.
 * @returns At least 0; at 0 the token must not be handed out.
 */
export function leaseSeconds(upstreamLeftSeconds: number | null, capSeconds: number): number {
  const left = upstreamLeftSeconds === null ? capSeconds : upstreamLeftSeconds - 30;
  return Math.max(0, Math.floor(Math.min(left, capSeconds)));
}
