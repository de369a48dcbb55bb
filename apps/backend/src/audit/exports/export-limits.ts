import { defaultExportMib } from '../../limits.ts';

/** How large an export may become, and how much is done at once; the defaults are those of the backend. */
export interface ExportLimits {
  readonly maxEvents: number;
  readonly maxBytes: number;
  /** Most sessions a query may choose for a bundle. */
  readonly maxSessions: number;
  /** Segments, events, and bytes of payloads of one step, which is in memory as a whole; one segment is always taken. */
  readonly stepLeaves: number;
  readonly stepEvents: number;
  readonly stepBytes: number;
  /** Kept per organisation at a time. */
  readonly maxKept: number;
  /** Of those together, KONTEXT_EXPORT_MIB; an export that is being made may be a step beyond before it fails. */
  readonly maxKeptBytes: number;
  /** Waits so long for a checkpoint that holds everything before the export was asked for. */
  readonly checkpointWaitMs: number;
}

/** 5 M events or 4 GiB each. */
export const defaultExportLimits: ExportLimits = {
  maxEvents: 5_000_000,
  maxBytes: 4 * 1024 ** 3,
  maxSessions: 10_000,
  stepLeaves: 500,
  stepEvents: 2_000,
  stepBytes: 8 * 1024 ** 2,
  maxKept: 10,
  maxKeptBytes: defaultExportMib * 1024 ** 2,
  checkpointWaitMs: 30_000,
};

/** Longest piece in bytes. */
export const chunkBytes = 256 * 1024;

/** Exports are kept for a day. */
export const keptMs = 86_400_000;
