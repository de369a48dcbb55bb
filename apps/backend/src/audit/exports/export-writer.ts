import { createHash, type Hash } from 'node:crypto';
import type { ExportChunk } from '../../store/queries/exports.ts';
import { chunkBytes } from './export-limits.ts';

/** Bytes of an export on their way into pieces. */
export interface ExportWriter {
  /** Bytes of everything that was written. */
  readonly bytes: number;
  write(text: string): void;
  /** SHA-256 of everything so far. */
  digest(): Buffer;
  /** Takes what was written since the last call, cut into pieces. */
  takeChunks(): ExportChunk[];
}

/** Where an export goes on, with the hash of what was written before. */
export interface WriterState {
  readonly chunks: number;
  readonly bytes: number;
  readonly hash: Hash;
}

/** Creates the writer of an export, from its beginning or where it stopped. */
export function createExportWriter(from?: WriterState): ExportWriter & { readonly state: WriterState } {
  const hash = from?.hash ?? createHash('sha256');
  let chunks = from?.chunks ?? 0;
  let stored = from?.bytes ?? 0;
  let waiting: Buffer[] = [];
  let bytes = stored;
  return {
    get bytes() {
      return bytes;
    },
    get state() {
      return { chunks, bytes, hash };
    },
    write(text) {
      const own = Buffer.from(text, 'utf8');
      hash.update(own);
      waiting.push(own);
      bytes += own.length;
    },
    digest: () => hash.copy().digest(),
    takeChunks() {
      const all = Buffer.concat(waiting);
      waiting = [];
      const pieces: ExportChunk[] = [];
      for (let at = 0; at < all.length; at += chunkBytes) {
        const data = all.subarray(at, at + chunkBytes);
        pieces.push({ chunk: chunks, offset: stored, data });
        chunks += 1;
        stored += data.length;
      }
      return pieces;
    },
  };
}
