import type { HookCounts } from '../hooks/hook-room.ts';
import { describeCredentials } from './describe-credentials.ts';
import type { SessionClose } from './open-session.ts';
import type { ResolvedCredential } from './resolve-placeholders.ts';

/** The one line before the agent: `3 credentials (2 short-lived, 1 static), policy observe, session ses_…`. */
export const describeStart = (
  credentials: ReadonlyMap<string, ResolvedCredential>,
  mode: 'observe' | 'enforce',
  sessionId: string,
): string => `${describeCredentials(credentials)}, policy ${mode}, session ${sessionId}`;

/** The one line after it: `212 tool calls, 0 denied, 3 would be denied, 14 m`. */
export function describeEnd(counts: Readonly<HookCounts>, durationMs: number): string {
  const { toolCalls, denied, wouldDeny } = counts;
  const would = wouldDeny === 0 ? '' : `, ${wouldDeny} would be denied`;
  return `${toolCalls} tool ${toolCalls === 1 ? 'call' : 'calls'}, ${denied} denied${would}, ${describeDuration(durationMs)}`;
}

/**
 * What the end of a session could not take back, a line per provider: `acme cannot be recalled, expires in 42 m`.
 *
 * @param nowMs By our clock; a wrong one makes the wrong number, and nothing else.
 */
export function describeLiving(living: SessionClose['living'], nowMs: number): string[] {
  const latest = new Map<string, number>();
  for (const { provider, expiresAt } of living) {
    const end = expiresAt?.getTime() ?? Number.POSITIVE_INFINITY;
    latest.set(provider, Math.max(latest.get(provider) ?? 0, end));
  }
  return [...latest].map(([provider, end]) => {
    const left = end - nowMs;
    const when = Number.isFinite(left) ? `expires in ${describeDuration(Math.max(0, left))}` : 'lives on';
    return `the credential of ${provider} cannot be recalled, ${when}`;
  });
}

function describeDuration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} m` : `${Math.floor(minutes / 60)} h ${minutes % 60} m`;
}

/** An agent whose hooks work calls the first one well within this. */
export const firstEventWithinMs = 10_000;
/** What is said when it did not. */
export const noHookYet =
  'the agent has called no hook yet: its tool calls may be neither decided nor recorded';
