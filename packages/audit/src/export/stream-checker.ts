/** The streams of a bundle: each is verified by itself, along the segments in which the log took it. */

import { sameBytes } from '../hashes.ts';
import type { Segment } from '../log/segment.ts';
import type { StreamHead } from '../stream-writer.ts';
import type { VerifyReport } from '../verify-report.ts';
import type { BundleCode, FindingNotes, FindingRank } from './bundle-findings.ts';
import type { BundleEvent, BundleFacts, BundleStream } from './bundle-format.ts';
import {
  addBundleEvent,
  beginSegment,
  finishBundleStream,
  type OpenStream,
  openBundleStream,
} from './bundle-streams.ts';

/** What was counted. */
export interface StreamSums {
  streams: number;
  badStreams: number;
  segments: number;
  events: number;
  withheld: number;
  missing: number;
  /** Streams whose events could be a client's as well as the backend's. */
  unprovenKinds: number;
}

/** Takes streams, segments, events and ends in the order of the file. */
export interface StreamChecker {
  readonly sums: Readonly<StreamSums>;
  addStream(stream: BundleStream, line: number): void;
  /** @param isNew False for a segment that stood there before. */
  addSegment(segment: Segment, isNew: boolean, line: number): void;
  addEvent(event: Omit<BundleEvent, 'receivedAt'>, line: number): void;
  endStream(id: string, head: StreamHead, line: number): void;
  /** What comes between segments: the next event belongs to none. */
  leaveSegment(): void;
  /** Ends what is still open. @param isCut The file has no end, so that streams need have none either. */
  close(isCut: boolean): void;
  /** Notes what the streams' own verifiers found. @param isSigned Whether the segments of the file are the signed ones. */
  report(isSigned: boolean): void;
}

/** Reports of bad streams that are kept for their findings. */
const maxBadStreams = 1000;

/** Creates the checker of one file. */
export function createStreamChecker(facts: BundleFacts, notes: FindingNotes): StreamChecker {
  const state: State = {
    ...{ facts, notes, streams: new Map(), ended: new Set(), bad: [], current: null, begun: '' },
    sums: { streams: 0, badStreams: 0, segments: 0, events: 0, withheld: 0, missing: 0, unprovenKinds: 0 },
  };
  return {
    sums: state.sums,
    addStream: (stream, line) => addStream(state, stream, line),
    addSegment: (segment, isNew, line) => addSegment(state, segment, isNew, line),
    addEvent: (event, line) => addEvent(state, event, line),
    endStream: (id, head, line) => endStream(state, id, head, line),
    leaveSegment() {
      state.current = null;
    },
    close(isCut) {
      for (const stream of [...state.streams.values()]) {
        if (!isCut)
          find(
            state,
            'missing',
            'KX_AUDIT_GAP',
            0,
            'the line that ends a stream is missing',
            stream.facts.id,
          );
        finishStream(state, stream, 0, isCut);
      }
    },
    report(isSigned) {
      for (const { report, line } of state.bad) noteStream(report, line, isSigned, notes);
    },
  };
}

interface State {
  readonly facts: BundleFacts;
  readonly notes: FindingNotes;
  readonly sums: StreamSums;
  readonly streams: Map<string, OpenStream>;
  /** Ids of streams that ended. */
  readonly ended: Set<string>;
  readonly bad: { readonly report: VerifyReport; readonly line: number }[];
  current: { readonly stream: OpenStream; readonly lastSeq: number } | null;
  /** Stream whose line has just been read: its first segment follows. */
  begun: string;
}

function find(
  { notes }: State,
  rank: FindingRank,
  code: BundleCode,
  line: number,
  sentence: string,
  streamId: string,
): void {
  notes.add(rank, { code, line, sentence, streamId });
}

function addStream(state: State, stream: BundleStream, line: number): void {
  const { streams, ended, facts, sums } = state;
  if (streams.has(stream.id) || ended.has(stream.id)) {
    find(state, 'fork', 'KX_AUDIT_FORK', line, 'a stream stands there twice', stream.id);
    return;
  }
  if (stream.org !== facts.org || (stream.kind === 'admin') !== (stream.session === null)) {
    const sentence = 'a stream is of another organisation, or of another kind than it says';
    find(state, 'mismatch', 'KX_AUDIT_ALTERED', line, sentence, stream.id);
  }
  sums.streams += 1;
  state.begun = stream.id;
  streams.set(stream.id, openBundleStream(stream));
}

const rankCodes = {
  missing: 'KX_AUDIT_GAP',
  fork: 'KX_AUDIT_FORK',
  mismatch: 'KX_AUDIT_ALTERED',
} as const satisfies Partial<Record<FindingRank, BundleCode>>;

function addSegment(state: State, segment: Segment, isNew: boolean, line: number): void {
  const { streams, ended, sums } = state;
  sums.segments += 1;
  const stream = streams.get(segment.stream);
  const isFirst = stream?.promised.seq === 0;
  if (isFirst !== (state.begun === segment.stream) || (state.begun !== '' && !isFirst))
    find(
      state,
      'mismatch',
      'KX_AUDIT_ALTERED',
      line,
      'the line of a stream stands in another place',
      segment.stream,
    );
  state.begun = '';
  state.current = stream === undefined ? null : { stream, lastSeq: segment.lastSeq };
  if (!isNew) return;
  if (stream !== undefined) {
    const wrong = beginSegment(stream, segment);
    if (wrong !== null) find(state, wrong.rank, rankCodes[wrong.rank], line, wrong.sentence, segment.stream);
  } else if (ended.has(segment.stream)) {
    find(state, 'fork', 'KX_AUDIT_FORK', line, 'a stream goes on after its end', segment.stream);
  } else {
    find(state, 'missing', 'KX_AUDIT_GAP', line, 'the line of a stream is missing', segment.stream);
  }
}

function addEvent(state: State, event: Omit<BundleEvent, 'receivedAt'>, line: number): void {
  const { current, sums } = state;
  sums.events += 1;
  if (current === null || event.seq > current.lastSeq) {
    const sentence = `event ${event.seq} stands outside its segment`;
    find(state, 'mismatch', 'KX_AUDIT_ALTERED', line, sentence, event.stream);
  }
  if (current === null) return;
  const wrong = addBundleEvent(current.stream, event);
  if (wrong !== null) find(state, 'mismatch', 'KX_AUDIT_ALTERED', line, wrong, event.stream);
}

function endStream(state: State, id: string, head: StreamHead, line: number): void {
  const stream = state.streams.get(id);
  if (stream === undefined) {
    find(state, 'mismatch', 'KX_AUDIT_ALTERED', line, 'a stream ends that is not open', id);
    return;
  }
  const { seq, hash } = stream.promised;
  if (state.current?.stream !== stream) {
    find(state, 'mismatch', 'KX_AUDIT_ALTERED', line, 'the end of a stream stands in another place', id);
  } else if (seq !== head.seq || !sameBytes(hash, head.hash)) {
    find(state, 'mismatch', 'KX_AUDIT_ALTERED', line, 'a stream ends elsewhere than its last segment', id);
  }
  finishStream(state, stream, line, false);
}

function finishStream(
  { streams, ended, sums, bad }: State,
  stream: OpenStream,
  line: number,
  isCut: boolean,
) {
  const report = finishBundleStream(stream, isCut);
  streams.delete(stream.facts.id);
  ended.add(stream.facts.id);
  sums.withheld += report.withheldCount;
  sums.missing += report.missingCount;
  if (!stream.isKindProven) sums.unprovenKinds += 1;
  if (report.ok) return;
  sums.badStreams += 1;
  if (bad.length < maxBadStreams) bad.push({ report, line });
}

/**
 * The file has its end, so what a stream lacks there is a gap. A row that is another one than the log's segment names is a fork
 * only when that segment is the signed one.
 */
function noteStream(report: VerifyReport, line: number, isSigned: boolean, notes: FindingNotes): void {
  const { streamId } = report;
  for (const { code, seq, sentence } of report.findings) {
    const isFork = code === 'KX_AUDIT_FORK' && (isSigned || sentence.endsWith('twice'));
    const isFirst = code === report.code;
    const rank = isFork && isFirst ? 'fork' : isFirst ? 'stream' : 'mismatch';
    notes.add(rank, { code: isFork ? code : (unsignedCodes[code] ?? code), line, streamId, seq, sentence });
  }
}

const unsignedCodes: Readonly<Record<string, BundleCode>> = {
  KX_AUDIT_FORK: 'KX_AUDIT_ALTERED',
  KX_AUDIT_TRUNCATED: 'KX_AUDIT_GAP',
};
