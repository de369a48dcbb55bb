import { randomBytes } from 'node:crypto';
import { KontextError } from '@kontext/errors';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createLocalKms, open, rewrap, type SealContext, seal } from './index.ts';

const kms = createLocalKms(
  new Map([
    ['a', randomBytes(32)],
    ['b', randomBytes(32)],
  ]),
  'a',
);
const context: SealContext = { purpose: 'connection', orgId: 'org_1', subjectId: 'con_1', version: 7 };

const refusal = (attempt: Promise<unknown>): Promise<string> =>
  attempt.then(
    () => 'opened',
    (error: unknown) => (error instanceof KontextError ? error.code : String(error)),
  );

/** One bit of the UTF-8 of a text turned, where that still is text; else null. */
function flipText(text: string, bit: number): string | null {
  const bytes = Buffer.from(text, 'utf8');
  bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
  const flipped = bytes.toString('utf8');
  return Buffer.from(flipped, 'utf8').equals(bytes) ? flipped : null;
}

describe('every bit of what is not bytes', () => {
  it.each(['purpose', 'orgId', 'subjectId'] as const)('is bound: %s of the context', async (field) => {
    const sealed = await seal(kms, context, Buffer.from('secret'));
    let tried = 0;
    for (let bit = 0; bit < context[field].length * 8; bit += 1) {
      const changed = flipText(context[field], bit);
      if (changed === null) continue;
      tried += 1;
      expect(await refusal(open(kms, { ...context, [field]: changed }, sealed))).toBe('KX_VAULT_OPEN');
    }
    expect(tried).toBeGreaterThan(context[field].length * 6);
  });

  it('is bound: the version', async () => {
    const sealed = await seal(kms, context, Buffer.from('secret'));
    for (let bit = 0; bit < 31; bit += 1) {
      const changed = { ...context, version: context.version ^ (1 << bit) };
      expect(await refusal(open(kms, changed, sealed))).toBe('KX_VAULT_OPEN');
    }
  });

  it('is bound: the format, and the id of the KEK', async () => {
    const sealed = await seal(kms, context, Buffer.from('secret'));
    for (let bit = 0; bit < 31; bit += 1) {
      const changed = { ...sealed, format: (1 ^ (1 << bit)) as 1 };
      expect(await refusal(open(kms, context, changed))).toBe('KX_VAULT_OPEN');
    }
    for (let bit = 0; bit < 7; bit += 1) {
      const kekId = flipText('a', bit) ?? '';
      expect(await refusal(open(kms, context, { ...sealed, kekId }))).toBe('KX_KEK_MISSING');
    }
    expect(await refusal(open(kms, context, { ...sealed, kekId: 'b' }))).toBe('KX_VAULT_OPEN');
  });
});

describe('two secrets', () => {
  const contexts = fc.record({
    purpose: fc.constantFrom('connection', 'client-secret'),
    orgId: fc.constantFrom('org_1', 'org_2', 'system'),
    subjectId: fc.constantFrom('con_1', 'con_2'),
    version: fc.integer({ min: 1, max: 3 }),
  });
  const parts = ['wrappedDek', 'iv', 'ciphertext'] as const;

  it('cannot be mixed: any part of one in the other, under either context, is refused', async () => {
    const choice = fc.tuple(contexts, contexts, fc.subarray([...parts], { minLength: 1, maxLength: 2 }));
    await fc.assert(
      fc.asyncProperty(choice, async ([one, two, taken]) => {
        const [first, second] = await Promise.all(
          [one, two].map((each) => seal(kms, each, Buffer.from('secret'))),
        );
        const mixed = { ...first!, ...Object.fromEntries(taken.map((part) => [part, second![part]])) };
        expect(await refusal(open(kms, one, mixed))).toBe('KX_VAULT_OPEN');
        expect(await refusal(open(kms, two, mixed))).toBe('KX_VAULT_OPEN');
      }),
    );
  });

  it('open under their own context alone, before and after being re-wrapped', async () => {
    await fc.assert(
      fc.asyncProperty(contexts, contexts, async (mine, other) => {
        const same = JSON.stringify(mine) === JSON.stringify(other);
        const sealed = await seal(kms, mine, Buffer.from('secret'));
        const again = await rewrap(kms, mine, sealed);
        for (const each of [sealed, again]) {
          expect(await refusal(open(kms, other, each))).toBe(same ? 'opened' : 'KX_VAULT_OPEN');
        }
        expect(await refusal(rewrap(kms, other, sealed))).toBe(same ? 'opened' : 'KX_VAULT_OPEN');
      }),
    );
  });
});
