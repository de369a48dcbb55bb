import type { HookCounts } from '../hooks/decide-and-record.ts';
import { describeCredentials } from './describe-credentials.ts';
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

function describeDuration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} m` : `${Math.floor(minutes / 60)} h ${minutes % 60} m`;
}
