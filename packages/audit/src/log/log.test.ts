import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createId } from '../ids.ts';
import { formatCheckpoint, parseCheckpoint } from './checkpoint.ts';
import {
  appendLeaves,
  emptyFrontier,
  type Frontier,
  frontierPlaces,
  hashLeaf,
  hashNode,
  type NodePlace,
  rootOf,
  type TreeNode,
} from './merkle-tree.ts';
import {
  proveConsistency,
  proveInclusion,
  readFrontier,
  verifyConsistency,
  verifyInclusion,
} from './proofs.ts';
import { encodeSegment, hashSegment, type Segment } from './segment.ts';
import { formatNote, formatVerifierKey, openNote, parseVerifierKey, toVerifier } from './signed-note.ts';

/** Leaves and roots that implementations of RFC 6962 publish; root n is that of the first n leaves. */
const published = {
  leaves: [
    '',
    '00',
    '10',
    '2021',
    '3031',
    '40414243',
    '5051525354555657',
    '606162636465666768696a6b6c6d6e6f',
  ],
  roots: [
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
    '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
    'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
    '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
  ],
};

const leavesOf = (count: number): Buffer[] =>
  Array.from({ length: count }, (_, index) => hashLeaf(Buffer.from(`leaf ${index}`)));

/** RFC 6962 §2.1 word for word: the model the real tree is held against. */
function modelRoot(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return createHash('sha256').digest();
  if (leaves.length === 1) return leaves[0]!;
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return hashNode(modelRoot(leaves.slice(0, k)), modelRoot(leaves.slice(k)));
}

/** A tree with all of its complete nodes at hand. */
function makeTree(count: number) {
  const { tree, nodes } = appendLeaves(emptyFrontier, leavesOf(count));
  const known = new Map(nodes.map((node) => [`${node.level}/${node.index}`, node.hash]));
  const read = async (places: readonly NodePlace[]) =>
    places.map(({ level, index }) => known.get(`${level}/${index}`)!);
  return { tree, read, root: rootOf(tree) };
}

describe('the tree', () => {
  it('has the roots that are published for RFC 6962', () => {
    const leaves = published.leaves.map((hex) => hashLeaf(Buffer.from(hex, 'hex')));
    const roots = published.roots.map((_, count) =>
      rootOf(appendLeaves(emptyFrontier, leaves.slice(0, count)).tree).toString('hex'),
    );
    expect(roots).toEqual(published.roots);
  });

  it('has the root of the model at every size, however the leaves are handed in', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(40), { maxLength: 8 }), (batches) => {
        let tree: Frontier = emptyFrontier;
        const leaves = leavesOf(batches.reduce((sum, count) => sum + count, 0));
        for (const count of batches) {
          tree = appendLeaves(tree, leaves.slice(tree.size, tree.size + count)).tree;
        }
        expect(rootOf(tree).equals(modelRoot(leaves))).toBe(true);
      }),
    );
  });

  it('can be taken up again from its stored nodes', async () => {
    for (let count = 0; count < 70; count += 1) {
      const { tree, read } = makeTree(count);
      expect(await readFrontier(count, read)).toEqual(tree);
      expect(frontierPlaces(count)).toHaveLength(tree.hashes.length);
    }
  });

  it('makes each complete node once', () => {
    const { nodes } = appendLeaves(emptyFrontier, leavesOf(64));
    const names = nodes.map(({ level, index }: TreeNode) => `${level}/${index}`);
    expect(new Set(names).size).toBe(127);
    expect(names).toHaveLength(127);
  });
});

describe('a proof', () => {
  it('of inclusion holds for every leaf of every size, and for no other leaf, size or root', async () => {
    for (let size = 1; size <= 33; size += 1) {
      const { read, root } = makeTree(size);
      for (let index = 0; index < size; index += 1) {
        const claim = { leaf: leavesOf(size)[index]!, index, size, root };
        const proof = await proveInclusion(index, size, read);
        expect(verifyInclusion({ ...claim, proof })).toBe(true);
        expect(verifyInclusion({ ...claim, proof, index: index + 1 })).toBe(false);
        expect(verifyInclusion({ ...claim, proof, leaf: hashLeaf(Buffer.from('other')) })).toBe(false);
        expect(verifyInclusion({ ...claim, proof, root: hashNode(root, root) })).toBe(false);
        expect(verifyInclusion({ ...claim, proof: [...proof, root] })).toBe(false);
        expect(proof.length > 0 && verifyInclusion({ ...claim, proof: proof.slice(1) })).toBe(false);
      }
    }
  });

  it('of consistency holds for every two sizes, and not when either root is another', async () => {
    for (let size = 0; size <= 33; size += 1) {
      const { read, root } = makeTree(size);
      for (let oldSize = 0; oldSize <= size; oldSize += 1) {
        const oldRoot = makeTree(oldSize).root;
        const proof = await proveConsistency(oldSize, size, read);
        expect(verifyConsistency({ oldSize, oldRoot, size, root, proof })).toBe(true);
        const other = hashNode(root, root);
        expect(verifyConsistency({ oldSize, oldRoot: other, size, root, proof })).toBe(false);
        if (oldSize > 0)
          expect(verifyConsistency({ oldSize, oldRoot, size, root: other, proof })).toBe(false);
        expect(verifyConsistency({ oldSize, oldRoot, size, root, proof: [...proof, other] })).toBe(false);
      }
    }
  });

  it('with one bit changed anywhere fails', async () => {
    const { read, root } = makeTree(29);
    const proof = await proveConsistency(13, 29, read);
    const oldRoot = makeTree(13).root;
    for (const [at, hash] of proof.entries()) {
      for (const bit of [0, 100, 255]) {
        const changed = Buffer.from(hash);
        changed[bit >> 3]! ^= 1 << (bit & 7);
        const wrong = proof.with(at, changed);
        expect(verifyConsistency({ oldSize: 13, oldRoot, size: 29, root, proof: wrong })).toBe(false);
      }
    }
  });

  it('is refused for leaves and trees that are not there', async () => {
    const { read } = makeTree(4);
    await expect(proveInclusion(4, 4, read)).rejects.toThrow('there is no such leaf');
    await expect(proveInclusion(-1, 4, read)).rejects.toThrow('there is no such leaf');
    await expect(proveConsistency(5, 4, read)).rejects.toThrow('the old tree is longer');
  });

  it('is never believed, nor an error, whatever it holds', () => {
    const bytes = fc.uint8Array({ minLength: 30, maxLength: 34 });
    fc.assert(
      fc.property(
        bytes,
        fc.integer(),
        fc.double(),
        bytes,
        fc.array(bytes),
        (leaf, index, size, root, proof) => {
          expect(verifyInclusion({ leaf, index, size, root, proof })).toBe(false);
          if (index !== size)
            expect(verifyConsistency({ oldSize: index, oldRoot: leaf, size, root, proof })).toBe(false);
        },
      ),
    );
  });
});

describe('a segment', () => {
  const segment: Segment = {
    stream: createId('str', 0),
    firstSeq: 1,
    lastSeq: 50,
    prev: Buffer.alloc(32, 1),
    head: Buffer.alloc(32, 2),
  };

  it('is six lines', () => {
    const [name, stream, first, last, prev, head, end] = encodeSegment(segment).toString().split('\n');
    expect([name, stream, first, last, end]).toEqual(['kontext-segment-v1', segment.stream, '1', '50', '']);
    expect([prev, head]).toEqual([
      Buffer.alloc(32, 1).toString('base64'),
      Buffer.alloc(32, 2).toString('base64'),
    ]);
  });

  it('has another hash when anything of it is another', () => {
    const others: Segment[] = [
      { ...segment, stream: createId('str', 1) },
      { ...segment, firstSeq: 2 },
      { ...segment, lastSeq: 51 },
      { ...segment, prev: segment.head },
      { ...segment, head: segment.prev },
    ];
    const hashes = [segment, ...others].map((one) => hashSegment(one).toString('hex'));
    expect(new Set(hashes).size).toBe(hashes.length);
  });
});

describe('a signed note', () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(12);
  const verifier = toVerifier('log.example/org_1', raw);
  const text = 'log.example/org_1\n3\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n';
  const note = formatNote(text, verifier, sign(null, Buffer.from(text), privateKey));

  it('opens the example that is published for the format', () => {
    const key = parseVerifierKey('PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW');
    const example =
      'If you think cryptography is the answer to your problem,\n' +
      "then you don't know what your problem is.\n\n" +
      '— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n';
    expect(key?.keyId).toBe('c74f20a3');
    expect(openNote(example, [key!])?.signedBy).toEqual([key]);
  });

  it('opens with the key it was signed with, which can be written down and read', () => {
    const key = parseVerifierKey(formatVerifierKey(verifier));
    expect(key).toMatchObject({ name: verifier.name, keyId: verifier.keyId });
    expect(openNote(note, [key!])).toEqual({ text, signedBy: [key], unknown: [] });
  });

  it('says which unknown key signed it', () => {
    const { name, keyId } = verifier;
    expect(openNote(note, [])).toEqual({ text, signedBy: [], unknown: [{ name, keyId }] });
  });

  it('does not open when text or signature was changed', () => {
    expect(openNote(note.replace('\n3\n', '\n4\n'), [verifier])).toBeNull();
    const at = note.length - 10;
    const changed = note.slice(0, at) + (note[at] === 'A' ? 'B' : 'A') + note.slice(at + 1);
    expect(openNote(changed, [verifier])).toBeNull();
  });

  it.each([
    ['no signature', text],
    ['no empty line', text + note.slice(text.length + 1)],
    ['no end of line', note.slice(0, -1)],
    ['a control character', note.replace('log', 'l\u0007og')],
    ['a signature line of another form', `${note}nonsense\n`],
    ['too much', `${'x'.repeat(70_000)}\n\n— a AAAAAAA=\n`],
  ])('is refused with %s', (_, wrong) => {
    expect(openNote(wrong, [verifier])).toBeNull();
  });

  it.each(['', 'a', 'a+b', 'a+00000000+AA==', formatVerifierKey(verifier).replace('+', '+f')])(
    'takes no verifier key that is %j',
    (wrong) => {
      expect(parseVerifierKey(wrong)).toBeNull();
    },
  );
});

describe('a checkpoint', () => {
  const checkpoint = { origin: 'log.example/org_1', size: 20_852_163, root: Buffer.alloc(32, 7) };

  it('is read as it was written', () => {
    expect(parseCheckpoint(formatCheckpoint(checkpoint))).toEqual(checkpoint);
    expect(parseCheckpoint(`${formatCheckpoint(checkpoint)}an extension\n`)).toEqual(checkpoint);
  });

  it.each([
    ['nothing', ''],
    ['a size with a leading zero', formatCheckpoint(checkpoint).replace('\n2', '\n02')],
    ['a size beyond what is counted', formatCheckpoint(checkpoint).replace('20852163', '9'.repeat(16))],
    ['a root of another length', formatCheckpoint({ ...checkpoint, root: Buffer.alloc(31) })],
    ['no end', formatCheckpoint(checkpoint).slice(0, -1)],
    ['no origin', formatCheckpoint({ ...checkpoint, origin: '' })],
    ['an empty extension line', `${formatCheckpoint(checkpoint)}\n`],
  ])('is refused when it holds %s', (_, wrong) => {
    expect(parseCheckpoint(wrong)).toBeNull();
  });
});
