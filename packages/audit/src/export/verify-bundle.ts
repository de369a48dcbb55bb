/**
 * The offline verifier of an exported bundle: nothing but its lines and the keys one trusts is needed.
 *
 * One pass; it keeps a hash per bit of the log's size, one verifier per stream that is open, and the names of those that ended.
 * Proven, when nothing is found: every event of the file is the one that was hashed; each stream is whole from its first event
 * to where the signed log ends it, in order; every segment is in the signed log, and in a whole export no segment of the log
 * is left out; the checkpoint was signed by a key that was given or pinned; the log begins with what this machine has seen
 * of it, where the two can be compared; the kind of each stream, but for `unprovenKinds`. What a part of a log cannot show:
 * whether one of its streams goes on in what was skipped.
 */
import type { ErrorSpec } from '@kontext/errors';
import { sameBytes } from '../hashes.ts';
import { hashSegment } from '../log/segment.ts';
import {
  type BundleCode,
  type BundleFinding,
  createFindingNotes,
  type FindingNotes,
} from './bundle-findings.ts';
import type { BundleFacts, BundleSums } from './bundle-format.ts';
import type { TrustedKeys } from './bundle-signature.ts';
import { createLeafChecker, type LeafChecker, type WitnessVerdict } from './leaf-checker.ts';
import { createLineSum } from './line-sum.ts';
import { type BundleLine, parseBundleLine, parseFirstLine } from './parse-lines.ts';
import { noBundle } from './read-lines.ts';
import { createStreamChecker, type StreamChecker } from './stream-checker.ts';

/** What verifying a bundle found, as `kontext audit verify <file> --json` prints it. */
export interface BundleReport {
  readonly ok: boolean;
  /** 0, or 10 gap, 11 fork, 12 signature, 13 truncated, 14 key that nobody vouches for, 15 altered. */
  readonly exitCode: ErrorSpec['exitCode'] | 0;
  readonly code: BundleCode | null;
  readonly org: string;
  /** Origin of the log. */
  readonly log: string;
  /** Leaves of the log the file is about. */
  readonly size: number;
  /** Base64 of the signed root; empty without a checkpoint. */
  readonly root: string;
  readonly scope: 'whole' | 'part';
  readonly query: string;
  readonly payloads: boolean;
  readonly createdAt: string;
  readonly streams: number;
  readonly badStreams: number;
  /** Streams of a session whose `kind` nothing proves: either side could have written each of their events. */
  readonly unprovenKinds: number;
  readonly segments: number;
  /** Leaves of the log that are not in the file. */
  readonly skipped: number;
  readonly events: number;
  /** Payloads that are not there although their hashes are: erased, withheld, or left out of the file. */
  readonly withheld: number;
  /** Events written without the payload they should have had. */
  readonly missing: number;
  /** Verifier key that has signed; empty when none has. */
  readonly key: string;
  readonly trust: 'given' | 'pinned' | null;
  /** How the log compares with what this machine saw before; `none`: it has seen nothing of it. */
  readonly witness: WitnessVerdict;
  /** The one that decides the exit code first; at most 101. */
  readonly findings: readonly BundleFinding[];
  readonly findingCount: number;
}

/**
 * Verifies the lines of an exported bundle.
 *
 * @param batches Lines without line feeds, see `readBundleLines`.
 * @param trust Keys that were given, and what this machine has pinned and seen. Neither: a right file is `unpinned`.
 * @throws KontextError `KX_BUNDLE_INVALID` when the first line is not that of an exported bundle.
 */
export async function verifyBundle(
  batches: AsyncIterable<readonly string[]> | Iterable<readonly string[]>,
  trust: Partial<TrustedKeys> = {},
): Promise<BundleReport> {
  let verifier: ReturnType<typeof createBundleVerifier> | null = null;
  for await (const lines of batches) {
    for (const line of lines) {
      if (verifier === null) verifier = openVerifier(line, trust);
      else verifier.add(line);
    }
  }
  if (verifier === null) throw noBundle('it is empty');
  return verifier.finish();
}

function openVerifier(firstLine: string, { keys = [], pinned = [] }: Partial<TrustedKeys>) {
  const facts = parseFirstLine(firstLine);
  if (facts === null) throw noBundle('it is a local one, which nothing has signed');
  return createBundleVerifier(facts, firstLine, { keys, pinned });
}

/** The checkers of one file. */
interface Parts {
  readonly leaves: LeafChecker;
  readonly streams: StreamChecker;
}

function createBundleVerifier(facts: BundleFacts, firstLine: string, trust: TrustedKeys) {
  const notes = createFindingNotes();
  const leaves = createLeafChecker(facts, trust, notes);
  const streams = createStreamChecker(facts, notes);
  const sum = createLineSum();
  sum.add(firstLine);
  let number = 1;
  let isDone = false;
  // Number of the line before, if it could not be read.
  let unreadable = 0;
  const take = (line: BundleLine, text: string): void => {
    if (line.type === 'done') {
      isDone = true;
      checkSums(line.sums, { ...streams.sums, lines: number - 1, sha256: sum.digest() }, number, notes);
      return;
    }
    sum.add(text);
    takeLine({ leaves, streams }, line, number);
  };
  return {
    add(text: string): void {
      number += 1;
      // What is unreadable and not last was changed; what is last was cut off.
      if (unreadable > 0) noteLine(notes, unreadable, `line ${unreadable} cannot be read`);
      unreadable = 0;
      const line = isDone ? null : parseBundleLine(text);
      if (line !== null) take(line, text);
      else if (isDone) noteLine(notes, number, `line ${number} stands after the end`);
      else {
        unreadable = number;
        sum.add(text);
      }
    },
    finish(): BundleReport {
      if (!isDone) {
        const sentence = `the file is cut off after line ${unreadable > 0 ? number - 1 : number}`;
        notes.add('truncated', { code: 'KX_AUDIT_TRUNCATED', line: number, sentence });
      }
      streams.close(!isDone);
      streams.report(leaves.finish(!isDone));
      return toReport(facts, { leaves, streams }, notes);
    },
  };
}

const noteLine = (notes: FindingNotes, line: number, sentence: string): void =>
  notes.add('unreadable', { code: 'KX_AUDIT_ALTERED', line, sentence });

type InnerLine = Exclude<BundleLine, { readonly type: 'done' }>;

function takeLine({ leaves, streams }: Parts, line: InnerLine, number: number): void {
  if (line.type === 'event') {
    streams.addEvent(line.event, number);
    return;
  }
  if (line.type === 'end') {
    streams.endStream(line.stream, line.head, number);
    streams.leaveSegment();
    return;
  }
  streams.leaveSegment();
  if (line.type === 'segment') {
    const isNew = leaves.addLeaf(line.leaf, hashSegment(line.segment), number);
    streams.addSegment(line.segment, isNew, number);
  } else if (line.type === 'stream') streams.addStream(line.stream, number);
  else if (line.type === 'skip') leaves.skip(line.from, line.to, line.nodes, number);
  else if (line.type === 'key') leaves.addKey(line.key, number);
  else leaves.openNote(line.note, number, streams.sums.streams === 0);
}

function checkSums(said: BundleSums, found: BundleSums, line: number, notes: FindingNotes): void {
  const names = ['lines', 'streams', 'segments', 'events'] as const;
  const wrong = names.filter((name) => said[name] !== found[name]);
  const counts = wrong.map((name) => `${said[name]} ${name} where there are ${found[name]}`);
  if (wrong.length === 0 && sameBytes(said.sha256, found.sha256)) return;
  const sentence =
    wrong.length > 0
      ? `the last line counts ${counts.join(', ')}`
      : 'the last line names another hash than the file has';
  notes.add('sums', { code: 'KX_AUDIT_ALTERED', line, sentence });
}

function toReport(facts: BundleFacts, { leaves, streams }: Parts, notes: FindingNotes): BundleReport {
  const { signed, witness, skipped } = leaves;
  return {
    ...{ ok: notes.worst === null, exitCode: notes.exitCode, code: notes.worst?.code ?? null },
    ...facts,
    ...streams.sums,
    ...{ skipped, witness, key: signed?.key ?? '', trust: signed?.trust ?? null },
    root: signed === null ? '' : Buffer.from(signed.checkpoint.root).toString('base64'),
    ...{ findings: notes.list(), findingCount: notes.count },
  };
}
