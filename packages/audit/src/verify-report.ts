import { type ErrorCode, type ErrorSpec, errorTable } from '@kontext/errors';
import type { EventHeader } from './event-header.ts';
import type { StoredRow } from './stored-stream.ts';

/** The codes a finding can have, the worst first. */
const auditCodes = [
  'KX_AUDIT_FORK',
  'KX_AUDIT_ALTERED',
  'KX_AUDIT_GAP',
  'KX_AUDIT_TRUNCATED',
] as const satisfies readonly ErrorCode[];

/** One of the codes a finding can have. */
export type AuditCode = (typeof auditCodes)[number];

/** One thing that is wrong. */
export interface Finding {
  readonly code: AuditCode;
  readonly seq: number;
  /** What is wrong, lower case, no full stop. */
  readonly sentence: string;
}

/** What the verifier found. */
export interface VerifyReport {
  readonly streamId: string;
  readonly ok: boolean;
  /** Rows read. */
  readonly events: number;
  /** Seqs whose payload is not there although its hash is; of those over `keepSeqs` only the count. */
  readonly withheld: readonly number[];
  readonly withheldCount: number;
  /** Seqs written without the payload they should have had: orphan intents. */
  readonly missing: readonly number[];
  readonly missingCount: number;
  /** In order of seq; at most 100 are kept. */
  readonly findings: readonly Finding[];
  readonly findingCount: number;
  /** Code of the first finding, the worst of those at its seq. */
  readonly code: AuditCode | null;
  /** Exit code of that finding; 0 when there is none. */
  readonly exitCode: ErrorSpec['exitCode'] | 0;
}

const maxFindings = 100;

/** Collects what goes into the report. */
export function createNotes(streamId: string, keepSeqs = Number.POSITIVE_INFINITY) {
  let events = 0;
  let withheldCount = 0;
  let missingCount = 0;
  let findingCount = 0;
  let worst: Finding | null = null;
  const findings: Finding[] = [];
  const withheld: number[] = [];
  const missing: number[] = [];
  return {
    count(row: StoredRow, header: EventHeader | null): void {
      events += 1;
      if (header === null) return;
      if (row.payload === null && header.payloadHash !== null) {
        withheldCount += 1;
        if (withheld.length < keepSeqs) withheld.push(row.seq);
      }
      if (header.missing !== null) {
        missingCount += 1;
        if (missing.length < keepSeqs) missing.push(row.seq);
      }
    },
    find(finding: Finding): void {
      findingCount += 1;
      if (findings.length < maxFindings) findings.push(finding);
      if (worst === null || byPlace(finding, worst) < 0) worst = finding;
    },
    report(): VerifyReport {
      const code = worst?.code ?? null;
      const exitCode = code === null ? 0 : errorTable[code].exitCode;
      const sorted = findings.sort(byPlace);
      return {
        streamId,
        ok: code === null,
        events,
        withheld,
        withheldCount,
        missing,
        missingCount,
        findings: sorted,
        findingCount,
        code,
        exitCode,
      };
    },
  };
}

function byPlace(a: Finding, b: Finding): number {
  return a.seq - b.seq || auditCodes.indexOf(a.code) - auditCodes.indexOf(b.code);
}
