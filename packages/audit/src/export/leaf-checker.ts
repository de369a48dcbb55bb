/** The log of a bundle: its leaves in order, up to the root that was signed. */
import { sameBytes } from '../hashes.ts';
import type { BundleCode, FindingNotes, FindingRank } from './bundle-findings.ts';
import { type BundleFacts, coverLeaves } from './bundle-format.ts';
import { type CheckedNote, openBundleNote, type TrustedKeys } from './bundle-signature.ts';
import { createRootBuilder, type RootBuilder } from './root-builder.ts';

/** How the log compares with what this machine saw before; `none`: it has seen nothing of it. */
export type WitnessVerdict = 'agrees' | 'differs' | 'not comparable' | 'none';

/** Takes keys, checkpoint, leaves and skipped runs of leaves, in the order of the file. */
export interface LeafChecker {
  readonly signed: CheckedNote | null;
  readonly witness: WitnessVerdict;
  readonly skipped: number;
  addKey(key: string, line: number): void;
  /** @param isFirst No stream went by yet. */
  openNote(note: string, line: number, isFirst: boolean): void;
  /** @param hash Of the leaf. @returns False when a leaf of that index went by already. */
  addLeaf(leaf: number, hash: Uint8Array, line: number): boolean;
  skip(from: number, to: number, nodes: readonly Uint8Array[], line: number): void;
  /** @returns Whether all leaves went by and their root is the signed one. */
  finish(isCut: boolean): boolean;
}

const maxKeys = 16;

/** Creates the checker of one file. */
export function createLeafChecker(facts: BundleFacts, trust: TrustedKeys, notes: FindingNotes): LeafChecker {
  const state: State = {
    ...{ facts, trust, notes, tree: createRootBuilder(), fileKeys: [], skipped: 0 },
    ...{ signed: null, seen: null, witness: 'none', isBroken: false, hasNote: false },
  };
  return {
    get signed() {
      return state.signed;
    },
    get witness() {
      return state.witness;
    },
    get skipped() {
      return state.skipped;
    },
    addKey: (key, line) => addKey(state, key, line),
    openNote: (note, line, isFirst) => openNote(state, note, line, isFirst),
    addLeaf(leaf, hash, line) {
      const isNew = isNext(state, leaf, line);
      if (isNew) addNode(state, 0, hash, line);
      return isNew;
    },
    skip: (from, to, nodes, line) => skip(state, { from, to, nodes }, line),
    finish: (isCut) => finish(state, isCut),
  };
}

interface State {
  readonly facts: BundleFacts;
  readonly trust: TrustedKeys;
  readonly notes: FindingNotes;
  readonly tree: RootBuilder;
  /** Verifier keys of the file. */
  readonly fileKeys: string[];
  skipped: number;
  signed: CheckedNote | null;
  /** The newest checkpoint this machine has seen. */
  seen: { readonly size: number; readonly root: Uint8Array } | null;
  witness: WitnessVerdict;
  /** A checkpoint went by, right or wrong. */
  hasNote: boolean;
  /** Leaves were missed, so no root can be known any more. */
  isBroken: boolean;
}

function find({ notes }: State, rank: FindingRank, code: BundleCode, line: number, sentence: string): void {
  notes.add(rank, { code, line, sentence });
}

function addKey(state: State, key: string, line: number): void {
  const { fileKeys } = state;
  if (state.hasNote || fileKeys.includes(key))
    find(state, 'mismatch', 'KX_AUDIT_ALTERED', line, 'a key stands there twice, or not at the beginning');
  if (fileKeys.length < maxKeys) fileKeys.push(key);
}

function openNote(state: State, note: string, line: number, isFirst: boolean): void {
  state.hasNote = true;
  if (!isFirst || state.tree.size > 0 || state.isBroken)
    find(state, 'mismatch', 'KX_AUDIT_ALTERED', line, 'the checkpoint does not stand at the beginning');
  const { facts, trust } = state;
  const opened = openBundleNote(note, state.fileKeys, trust);
  if (typeof opened === 'string') {
    find(state, 'signature', 'KX_AUDIT_SIGNATURE', line, opened);
    return;
  }
  if (state.signed !== null) {
    find(state, 'mismatch', 'KX_AUDIT_ALTERED', line, 'there is a second checkpoint');
    return;
  }
  state.signed = opened;
  const { origin, size } = opened.checkpoint;
  if (origin !== facts.log || size !== facts.size || !origin.endsWith(`/${facts.org}`)) {
    const sentence = 'the checkpoint is of another log, or another size of it, than the first line says';
    find(state, 'mismatch', 'KX_AUDIT_ALTERED', line, sentence);
  }
  state.seen = findSeen(origin, trust);
  if (state.seen !== null) state.witness = 'not comparable';
}

/** The newest checkpoint this machine has seen of a log. */
function findSeen(origin: string, { pinned }: TrustedKeys): State['seen'] {
  const own = pinned.filter(({ key }) => key.startsWith(`${origin}+`));
  const seen = own.flatMap(({ checkpoint }) => checkpoint ?? []);
  return seen.sort((a, b) => b.size - a.size).find(({ size }) => size > 0) ?? null;
}

function isNext(state: State, leaf: number, line: number): boolean {
  const { size } = state.tree;
  if (state.isBroken) return true;
  if (leaf < size) {
    find(state, 'fork', 'KX_AUDIT_FORK', line, `segment ${leaf} of the log stands there twice`);
    return false;
  }
  if (leaf > size) {
    const sentence = `${segments(size, leaf)} missing from the file`;
    find(state, 'missing', 'KX_AUDIT_GAP', line, sentence);
    state.isBroken = true;
  }
  return true;
}

/** @param to Exclusive. */
const segments = (from: number, to: number): string =>
  to - from === 1 ? `segment ${from} of the log is` : `segments ${from} to ${to - 1} of the log are`;

function addNode(state: State, level: number, hash: Uint8Array, line: number): void {
  const { tree, seen } = state;
  if (state.isBroken) return;
  if (!tree.add(level, hash)) {
    state.isBroken = true;
    find(state, 'mismatch', 'KX_AUDIT_ALTERED', line, 'the leaves of the log do not follow each other');
  } else if (seen !== null && tree.size === seen.size) {
    state.witness = sameBytes(tree.root(), seen.root) ? 'agrees' : 'differs';
    if (state.witness === 'agrees') return;
    const sentence = `the log does not begin with the ${seen.size} segments this machine has seen signed before`;
    find(state, 'fork', 'KX_AUDIT_FORK', line, sentence);
  }
}

interface Skip {
  readonly from: number;
  readonly to: number;
  readonly nodes: readonly Uint8Array[];
}

function skip(state: State, { from, to, nodes }: Skip, line: number): void {
  const { facts } = state;
  if (facts.scope === 'whole') {
    const sentence = `${segments(from, to)} left out of a file that calls itself whole`;
    find(state, 'missing', 'KX_AUDIT_GAP', line, sentence);
  }
  if (!isNext(state, from, line)) return;
  const places = from < to && to <= facts.size ? coverLeaves(from, to) : [];
  if (places.length !== nodes.length || places.length === 0) {
    state.isBroken = true;
    find(state, 'mismatch', 'KX_AUDIT_ALTERED', line, 'what is skipped is not what it says');
    return;
  }
  state.skipped += to - from;
  for (const [index, { level }] of places.entries())
    addNode(state, level, nodes[index] ?? new Uint8Array(), line);
}

function finish(state: State, isCut: boolean): boolean {
  const { signed, tree, notes } = state;
  if (signed === null) {
    const known = notes.worst?.code === 'KX_AUDIT_SIGNATURE';
    if (!isCut && !known)
      find(state, 'signature', 'KX_AUDIT_SIGNATURE', 0, 'there is no signed checkpoint in the file');
    return false;
  }
  if (signed.trust === null) {
    const sentence = 'the checkpoint is signed by a key that was neither given nor pinned';
    find(state, 'unpinned', 'KX_AUDIT_UNPINNED', 0, sentence);
  }
  if (isCut || state.isBroken) return false;
  const { size, root } = signed.checkpoint;
  if (tree.size === size && sameBytes(tree.root(), root)) return true;
  if (tree.size < size) {
    const sentence = `${segments(tree.size, size)} missing from the file`;
    find(state, 'missing', 'KX_AUDIT_GAP', 0, sentence);
  } else {
    const sentence = 'the segments of the file are not those of the signed log';
    find(state, 'mismatch', 'KX_AUDIT_ALTERED', 0, sentence);
  }
  return false;
}
