/** Seal, open, re-wrap: a DEK per secret, under a KEK. Pure but for randomness; no network, database or logs. */
export { decodeAad, encodeAad } from './encode-aad.ts';
export type { Kms } from './kms.ts';
export { createLocalKms } from './local-kms.ts';
export { open, rewrap, type SealContext, type SealedSecret, seal } from './seal.ts';
