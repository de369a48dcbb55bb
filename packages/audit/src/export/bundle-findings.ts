import { type ErrorSpec, errorTable } from '@kontext/errors';
import type { AuditCode } from '../verify-report.ts';

/** The codes a bundle's finding can have. */
export type BundleCode = AuditCode | 'KX_AUDIT_SIGNATURE' | 'KX_AUDIT_UNPINNED';

/** One thing that is wrong with a bundle. */
export interface BundleFinding {
  readonly code: BundleCode;
  /** Number of the line where it was seen, from 1; 0 for the file as a whole. */
  readonly line: number;
  /** Empty when it is not about one stream. */
  readonly streamId: string;
  readonly seq: number;
  /** What is wrong, lower case, no full stop. */
  readonly sentence: string;
}

/**
 * What decides the exit code, the first of these that was found: one change makes several findings, and the one that says what
 * was done to the file stands before those that only follow from it.
 */
const ranks = [
  'signature', // a checkpoint that is not signed as it must be
  'fork', // another history than was signed, or one event twice
  'unreadable', // a line that is none
  'missing', // lines or segments that are not there
  'stream', // what a stream itself shows
  'mismatch', // what does not fit together
  'truncated', // the end is not there
  'sums', // counts and hash of the last line
  'unpinned', // nobody vouches for the key
] as const;

/** One of the kinds of findings. */
export type FindingRank = (typeof ranks)[number];

const maxFindings = 100;

/** Collects findings: all are counted, the first hundred are kept, and the one that decides. */
export interface FindingNotes {
  add(rank: FindingRank, finding: Omit<BundleFinding, 'streamId' | 'seq'> & Partial<BundleFinding>): void;
  readonly count: number;
  /** The one that decides first. */
  list(): readonly BundleFinding[];
  readonly worst: BundleFinding | null;
  readonly exitCode: ErrorSpec['exitCode'] | 0;
}

/** Creates an empty collection. */
export function createFindingNotes(): FindingNotes {
  const kept: BundleFinding[] = [];
  let count = 0;
  let worst: { readonly rank: number; readonly finding: BundleFinding } | null = null;
  return {
    add(name, { streamId = '', seq = 0, ...rest }) {
      const finding = { streamId, seq, ...rest };
      const rank = ranks.indexOf(name);
      count += 1;
      if (kept.length < maxFindings) kept.push(finding);
      if (worst === null || rank < worst.rank) worst = { rank, finding };
    },
    get count() {
      return count;
    },
    list: () => (worst === null ? [] : [worst.finding, ...kept.filter((one) => one !== worst?.finding)]),
    get worst() {
      return worst?.finding ?? null;
    },
    get exitCode() {
      return worst === null ? 0 : errorTable[worst.finding.code].exitCode;
    },
  };
}
