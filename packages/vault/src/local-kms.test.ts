import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { createLocalKms } from './index.ts';

const missing = expect.objectContaining({ code: 'KX_KEK_MISSING' });

describe('createLocalKms', () => {
  it('refuses an active KEK that it was not given', () => {
    expect(() => createLocalKms(new Map([['a', randomBytes(32)]]), 'b')).toThrow(missing);
    expect(() => createLocalKms(new Map(), 'b')).toThrow(missing);
  });

  it.each([0, 16, 31, 33, 64])('refuses a KEK of %i bytes, active or not', (length) => {
    const keks = new Map([
      ['a', randomBytes(32)],
      ['b', randomBytes(length)],
    ]);

    expect(() => createLocalKms(keks, 'a')).toThrow(missing);
    expect(() => createLocalKms(keks, 'b')).toThrow(missing);
  });

  it('copies the KEKs, so that the caller can zero its own', async () => {
    const kek = randomBytes(32);
    const kms = createLocalKms(new Map([['a', kek]]), 'a');
    const dek = randomBytes(32);
    const { wrapped } = await kms.wrap(dek, Buffer.from('aad'));

    kek.fill(0);

    expect(await kms.unwrap('a', wrapped, Buffer.from('aad'))).toEqual(dek);
    const zeroed = createLocalKms(new Map([['a', kek]]), 'a');
    await expect(zeroed.unwrap('a', wrapped, Buffer.from('aad'))).rejects.toMatchObject({
      code: 'KX_VAULT_OPEN',
    });
  });

  it('wraps under the active KEK and unwraps under any it holds', async () => {
    const keks = new Map([
      ['a', randomBytes(32)],
      ['b', randomBytes(32)],
    ]);
    const dek = randomBytes(32);
    const aad = Buffer.from('aad');

    const wrapped = await createLocalKms(keks, 'a').wrap(dek, aad);

    expect(wrapped.kekId).toBe('a');
    expect(await createLocalKms(keks, 'b').unwrap('a', wrapped.wrapped, aad)).toEqual(dek);
  });

  it('shows no key when inspected', () => {
    const kek = Buffer.from('k'.repeat(32));
    const shown = inspect(createLocalKms(new Map([['a', kek]]), 'a'), { depth: 9, showHidden: true });

    expect(shown).not.toMatch(/kkkk|6b 6b/);
  });
});
