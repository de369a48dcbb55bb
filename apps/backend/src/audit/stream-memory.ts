import type { StreamRow } from '../store/queries/audit-streams.ts';

/** Streams that are remembered; a row is about half a kilobyte. */
const maxStreams = 10_000;

/**
 * Client streams as they were after the last batch that this process stored in them. Another replica may have gone on since:
 * what is stored by a remembered head is compared with the real one in the same statement.
 */
export interface StreamMemory {
  find(streamId: string): StreamRow | undefined;
  remember(stream: StreamRow): void;
  forget(streamId: string): void;
  /** A header at this place was refused, and that was recorded. */
  noteRefused(streamId: string, seq: number): void;
  /** Whether that was noted; forgotten now and then, and then it is recorded once more. */
  wasRefused(streamId: string, seq: number): boolean;
}

/** Creates the memory; one per process. The stream that was not written to for longest is forgotten first. */
export function createStreamMemory(limit: number = maxStreams): StreamMemory {
  const streams = new Map<string, StreamRow>();
  const refused = new Set<string>();
  return {
    find: (streamId) => streams.get(streamId),
    remember: (stream) => {
      streams.delete(stream.id);
      streams.set(stream.id, stream);
      if (streams.size <= limit) return;
      const [oldest] = streams.keys();
      if (oldest !== undefined) streams.delete(oldest);
    },
    forget: (streamId) => void streams.delete(streamId),
    noteRefused: (streamId, seq) => {
      if (refused.size >= limit) refused.clear();
      refused.add(placeOf(streamId, seq));
    },
    wasRefused: (streamId, seq) => refused.has(placeOf(streamId, seq)),
  };
}

const placeOf = (streamId: string, seq: number): string => `${streamId} ${seq}`;
