import type { PayloadParts } from './check-payload.ts';
import type { StoredColumns } from './stored-columns.ts';
import type { StreamHead } from './stream-writer.ts';

/** A raw row, as the store gives it. */
export interface StoredRow extends StoredColumns, PayloadParts {
  readonly seq: number;
  readonly header: string;
  readonly chain: Uint8Array;
}

/** The stream as the store describes it. */
export interface StoredStream {
  readonly orgId: string;
  readonly streamId: string;
  /** Null or empty for the organisation's admin stream, whose events may name any session. */
  readonly sessionId: string | null;
  readonly nonce: Uint8Array;
  readonly head: StreamHead;
}
