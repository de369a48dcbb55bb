/** Event bytes, hash chain, spool lines and the offline verifier of the audit log. */
export {
  type BatchEvent,
  type BatchInput,
  type BatchVerdict,
  type CheckedEvent,
  type ClientStream,
  checkBatch,
  maxBatchEvents,
} from './check-batch.ts';
export {
  type EventDecision,
  type EventHeader,
  type EventLineage,
  encodeHeader,
  parseHeader,
} from './event-header.ts';
export { clientEventKinds, type EventKind, eventKinds, isEventKind } from './event-kinds.ts';
export type { BundleCode, BundleFinding } from './export/bundle-findings.ts';
export {
  type BundleEvent,
  type BundleFacts,
  type BundleStream,
  type BundleSums,
  bundleLine,
  coverLeaves,
} from './export/bundle-format.ts';
export type { PinnedLog, TrustedKeys } from './export/bundle-signature.ts';
export { parseFirstLine } from './export/parse-lines.ts';
export { readBundleLines } from './export/read-lines.ts';
export { type BundleReport, verifyBundle } from './export/verify-bundle.ts';
export { chainLink, firstLink, hashEvent, hashPayload, sameBytes } from './hashes.ts';
export { headerLimits } from './header-limits.ts';
export { hasHidden, headerTextFields, showHidden, toHeaderText } from './header-text.ts';
export { createId, type Id, type IdPrefix, idPrefixes, isId } from './ids.ts';
export { type Checkpoint, formatCheckpoint, parseCheckpoint } from './log/checkpoint.ts';
export {
  appendLeaves,
  emptyFrontier,
  type Frontier,
  hashLeaf,
  type NodePlace,
  rootOf,
  type TreeNode,
} from './log/merkle-tree.ts';
export {
  proveConsistency,
  proveInclusion,
  type ReadNodes,
  readFrontier,
  verifyConsistency,
  verifyInclusion,
} from './log/proofs.ts';
export { encodeSegment, hashSegment, type Segment } from './log/segment.ts';
export {
  formatNote,
  formatVerifierKey,
  type NoteVerifier,
  type OpenedNote,
  openNote,
  parseVerifierKey,
  toVerifier,
} from './log/signed-note.ts';
export { plainPayloadNames } from './payload-names.ts';
export { checkPayloadText, maxPayloadBytes } from './payload-text.ts';
export type { RandomBytes } from './random-pool.ts';
export type { SpoolEntry, SpoolIntent, SpoolKind } from './spool-entry.ts';
export {
  type OpenedSpoolLine,
  type OpenedSpoolSegment,
  openSpoolSegment,
  type SpoolCorruption,
  type SpoolTail,
  sealSpoolLine,
  startSpoolSegment,
} from './spool-line.ts';
export { deriveColumns, type StoredColumns, toColumnText } from './stored-columns.ts';
export type { StoredRow, StoredStream } from './stored-stream.ts';
export {
  type ChainedEvent,
  createStreamWriter,
  type EventFields,
  type Reservation,
  type StreamHead,
  type StreamWriter,
  type StreamWriterOptions,
} from './stream-writer.ts';
export type { AuditCode, Finding, VerifyReport } from './verify-report.ts';
export {
  createStreamVerifier,
  type StreamVerifier,
  type VerifyOptions,
  verifyStream,
} from './verify-stream.ts';
