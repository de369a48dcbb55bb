/** Where the making of an export goes on, as `audit_exports.cursor` keeps it between steps. */
export interface ExportCursor {
  readonly v: 1;
  /** Size the log must have at least, so that it holds what was stored before the export was asked for; null: not known yet. */
  readonly wantedSize: number | null;
  /** The checkpoint the export is about; null before it began. */
  readonly log: { readonly size: number; readonly note: string; readonly key: string } | null;
  /** Streams of a bundle; null: all. */
  readonly streamIds: readonly string[] | null;
  readonly nextLeaf: number;
  /** First leaf that is neither in the file nor skipped yet. */
  readonly skipFrom: number;
  readonly chunks: number;
  readonly lines: number;
  readonly streams: number;
  readonly segments: number;
}

/** Before anything was done. */
export const newCursor: ExportCursor = {
  ...{ v: 1, wantedSize: null, log: null, streamIds: null, nextLeaf: 0, skipFrom: 0 },
  ...{ chunks: 0, lines: 0, streams: 0, segments: 0 },
};

/** Reads a cursor; empty: {@link newCursor}. It is our own, so its shape is believed. */
export const parseCursor = (text: string): ExportCursor =>
  text === '' ? newCursor : (JSON.parse(text) as ExportCursor);
