import { setTimeout as sleep } from 'node:timers/promises';
import { errorTable, KontextError } from '@kontext/errors';
import type { StreamReport } from '../session/verify-streams.ts';
import { checkHead, type LogCalls, proveInLog } from './check-log.ts';
import type { Contact, Witness } from './witness.ts';

/** The end of a stream as the backend lists it. */
export interface StreamEnd {
  readonly seq: number;
  readonly hash: Uint8Array;
}

/** What the log says of verified streams. */
export interface LogReport {
  /** Null when the organisation's log has no checkpoint yet. */
  readonly contact: Contact | null;
  /** The same reports; what the log does not hold is a finding. */
  readonly streams: readonly StreamReport[];
}

/** A checkpoint follows within seconds; a stream that has just been written to may wait for the next one. */
const waitMs = 10_000;
const pollMs = 500;

/**
 * Checks that the organisation's log holds the end of each stream. An end's chain value covers all that is before it, so with
 * the stream itself verified every event is in the log.
 *
 * @param ends By stream id.
 * @throws KontextError as `Witness.contact`.
 */
export async function verifyEnds(
  {
    calls,
    witness,
    signal,
  }: { readonly calls: LogCalls; readonly witness: Witness; readonly signal: AbortSignal },
  reports: readonly StreamReport[],
  ends: ReadonlyMap<string, StreamEnd>,
  limits: { readonly waitMs: number; readonly pollMs: number } = { waitMs, pollMs },
): Promise<LogReport> {
  const findings = new Map<string, KontextError>();
  let open = [...ends].filter(([, { seq }]) => seq > 0);
  const deadlineMs = Date.now() + limits.waitMs;
  for (;;) {
    const contact = await witness.contact();
    if (contact.checkpoint === null) return { contact: null, streams: reports };
    const waiting: typeof open = [];
    for (const [streamId, end] of open) {
      const found = await checkEnd(calls, contact.checkpoint, streamId, end);
      if (found === 'not yet') waiting.push([streamId, end]);
      else if (found !== null) findings.set(streamId, found);
    }
    open = waiting;
    if (open.length === 0 || Date.now() >= deadlineMs) {
      for (const [streamId] of open)
        findings.set(streamId, notHeld('the log does not hold the end of the stream'));
      return { contact, streams: reports.map((report) => addFinding(report, findings, ends)) };
    }
    await sleep(limits.pollMs, undefined, { signal });
  }
}

async function checkEnd(
  calls: LogCalls,
  checkpoint: NonNullable<Contact['checkpoint']>,
  streamId: string,
  { seq, hash }: StreamEnd,
): Promise<KontextError | 'not yet' | null> {
  try {
    const proven = await proveInLog(calls, checkpoint, { streamId, seq });
    if (proven === null) return 'not yet';
    await checkHead(calls, proven, hash);
    return null;
  } catch (error) {
    if (!(error instanceof KontextError)) throw error;
    if (error.code === 'KX_NOT_FOUND') return notHeld('the log holds nothing of the end of the stream');
    if (error.code.startsWith('KX_AUDIT_')) return error;
    throw error;
  }
}

const notHeld = (why: string): KontextError =>
  new KontextError('KX_AUDIT_TRUNCATED', 'the audit log lacks events', { why });

/** A stream's own finding says more than that the log does not hold what was made of it. */
function addFinding(
  report: StreamReport,
  findings: ReadonlyMap<string, KontextError>,
  ends: ReadonlyMap<string, StreamEnd>,
): StreamReport {
  const error = findings.get(report.streamId);
  const code = streamCodes.find((known) => known === error?.code);
  if (error === undefined || code === undefined) return report;
  const finding = { code, seq: ends.get(report.streamId)?.seq ?? 0, sentence: error.why };
  return {
    ...report,
    ok: false,
    findings: [...report.findings, finding],
    findingCount: report.findingCount + 1,
    exitCode: report.ok ? errorTable[code].exitCode : report.exitCode,
  };
}

const streamCodes = ['KX_AUDIT_TRUNCATED', 'KX_AUDIT_FORK', 'KX_AUDIT_ALTERED', 'KX_AUDIT_GAP'] as const;
