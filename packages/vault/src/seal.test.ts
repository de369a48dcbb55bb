import { createCipheriv, randomBytes } from 'node:crypto';
import { KontextError } from '@kontext/errors';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import {
  createLocalKms,
  encodeAad,
  type Kms,
  open,
  rewrap,
  type SealContext,
  type SealedSecret,
  seal,
} from './index.ts';

const [oldKek, newKek] = [randomBytes(32), randomBytes(32)];
const oldKms = createLocalKms(new Map([['old', oldKek]]), 'old');
const bothKms = createLocalKms(
  new Map([
    ['old', oldKek],
    ['new', newKek],
  ]),
  'new',
);
const newKms = createLocalKms(new Map([['new', newKek]]), 'new');

const context: SealContext = { purpose: 'connection', orgId: 'org_1', subjectId: 'con_1', version: 1 };
const plaintext = Buffer.from('sk_live_0123456789');

const refusal = async (attempt: Promise<unknown>): Promise<KontextError> => {
  const error = await attempt.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(KontextError);
  return error as KontextError;
};

const expectRefused = async (kms: Kms, sealed: SealedSecret, wanted: SealContext = context) => {
  const error = await refusal(open(kms, wanted, sealed));
  expect(error.code).toBe('KX_VAULT_OPEN');
  return error;
};

const flip = (bytes: Buffer, bit: number): Buffer => {
  const copy = Buffer.from(bytes);
  copy[bit >> 3]! ^= 1 << (bit & 7);
  return copy;
};

/** A key service that keeps the data keys it hands out and gets, to see them zeroed. */
const spyKms = (kms: Kms) => {
  const seen: Buffer[] = [];
  const spied: Kms = {
    activeKekId: kms.activeKekId,
    wrap: (dek, aad) => {
      seen.push(dek);
      return kms.wrap(dek, aad);
    },
    unwrap: async (...args) => {
      const dek = await kms.unwrap(...args);
      seen.push(dek);
      return dek;
    },
  };
  return { spied, seen };
};

describe('seal and open', () => {
  it('gives any bytes back', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        const sealed = await seal(oldKms, context, Buffer.from(bytes));
        expect(await open(oldKms, context, sealed)).toEqual(Buffer.from(bytes));
      }),
    );
  });

  it('makes a record of format, KEK id, wrapped DEK, nonce and ciphertext with tag', async () => {
    const sealed = await seal(oldKms, context, plaintext);

    expect(sealed).toMatchObject({ format: 1, kekId: 'old' });
    expect(sealed.wrappedDek).toHaveLength(12 + 32 + 16);
    expect(sealed.iv).toHaveLength(12);
    expect(sealed.ciphertext).toHaveLength(plaintext.length + 16);
    expect(Buffer.concat([sealed.wrappedDek, sealed.ciphertext]).includes(plaintext)).toBe(false);
  });

  it('uses a fresh data key and nonce for every sealing', async () => {
    const { spied, seen } = spyKms(oldKms);
    const deks: string[] = [];
    const recording: Kms = {
      ...spied,
      wrap: (dek, aad) => {
        deks.push(dek.toString('hex'));
        return spied.wrap(dek, aad);
      },
    };

    const [one, two] = [await seal(recording, context, plaintext), await seal(recording, context, plaintext)];

    expect(new Set(deks).size).toBe(2);
    expect(one.iv).not.toEqual(two.iv);
    expect(one.ciphertext).not.toEqual(two.ciphertext);
    expect(one.wrappedDek).not.toEqual(two.wrappedDek);
    expect(seen.every((dek) => dek.equals(Buffer.alloc(32)))).toBe(true);
  });

  it('leaves the plaintext to its owner', async () => {
    const mine = Buffer.from(plaintext);

    await seal(oldKms, context, mine);

    expect(mine).toEqual(plaintext);
  });
});

describe('a record that was changed', () => {
  it.each(['wrappedDek', 'iv', 'ciphertext'] as const)(
    'is refused for every bit flip in %s',
    async (field) => {
      const sealed = await seal(oldKms, context, plaintext);

      for (let bit = 0; bit < sealed[field].length * 8; bit += 1) {
        await expectRefused(oldKms, { ...sealed, [field]: flip(sealed[field], bit) });
      }
    },
  );

  it.each(['wrappedDek', 'iv', 'ciphertext'] as const)(
    'is refused for every truncation of %s',
    async (field) => {
      const sealed = await seal(oldKms, context, plaintext);

      for (let length = 0; length < sealed[field].length; length += 1) {
        await expectRefused(oldKms, { ...sealed, [field]: sealed[field].subarray(0, length) });
      }
      await expectRefused(oldKms, { ...sealed, [field]: Buffer.concat([sealed[field], Buffer.alloc(1)]) });
    },
  );

  it('is refused with the ciphertext, the nonce or the data key of another record', async () => {
    const [one, two] = [await seal(oldKms, context, plaintext), await seal(oldKms, context, plaintext)];

    await expectRefused(oldKms, { ...one, ciphertext: two.ciphertext });
    await expectRefused(oldKms, { ...one, ciphertext: two.ciphertext, iv: two.iv });
    await expectRefused(oldKms, { ...one, iv: two.iv });
    await expectRefused(oldKms, { ...one, wrappedDek: two.wrappedDek });
  });

  it('is refused with an unknown format', async () => {
    const sealed = await seal(oldKms, context, plaintext);

    await expectRefused(oldKms, { ...sealed, format: 2 as 1 });
  });

  it('is refused with a tag of 4 bytes, even the right ones', async () => {
    const dek = randomBytes(32);
    const iv = randomBytes(12);
    const aad = encodeAad(['1', 'connection', 'org_1', 'con_1', '1']);
    const cipher = createCipheriv('aes-256-gcm', dek, iv, { authTagLength: 4 }).setAAD(aad);
    const body = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
    const wrapAad = encodeAad(['1', 'connection', 'org_1', 'con_1', '1', 'old']);
    const { wrapped } = await oldKms.wrap(dek, wrapAad);

    await expectRefused(oldKms, { format: 1, kekId: 'old', wrappedDek: wrapped, iv, ciphertext: body });
    const empty = {
      format: 1,
      kekId: 'old',
      wrappedDek: wrapped,
      iv,
      ciphertext: body.subarray(-4),
    } as const;
    await expectRefused(oldKms, empty);
  });

  it('is refused when a data key of another length was wrapped', async () => {
    const sealed = await seal(oldKms, context, plaintext);
    const wrapAad = encodeAad(['1', 'connection', 'org_1', 'con_1', '1', 'old']);
    const { wrapped } = await oldKms.wrap(Buffer.alloc(16), wrapAad);

    await expectRefused(oldKms, { ...sealed, wrappedDek: wrapped });
  });
});

describe('a context that differs', () => {
  it.each<[string, Partial<SealContext>]>([
    ['purpose', { purpose: 'signing-key' }],
    ['organisation', { orgId: 'org_2' }],
    ['subject', { subjectId: 'con_2' }],
    ['version', { version: 2 }],
    ['border between fields', { orgId: 'org_1c', subjectId: 'on_1' }],
  ])('in its %s is refused by open and by rewrap', async (_what, change) => {
    const sealed = await seal(oldKms, context, plaintext);

    await expectRefused(oldKms, sealed, { ...context, ...change });
    expect((await refusal(rewrap(bothKms, { ...context, ...change }, sealed))).code).toBe('KX_VAULT_OPEN');
  });

  it('binds the ciphertext itself, not only the wrapped key', async () => {
    // A key service that ignores its AAD must not be enough to move a secret elsewhere.
    const careless: Kms = {
      activeKekId: 'old',
      wrap: (dek) => oldKms.wrap(dek, Buffer.alloc(0)),
      unwrap: (kekId, wrapped) => oldKms.unwrap(kekId, wrapped, Buffer.alloc(0)),
    };
    const sealed = await seal(careless, context, plaintext);

    expect(await open(careless, context, sealed)).toEqual(plaintext);
    await expectRefused(careless, sealed, { ...context, orgId: 'org_2' });
  });
});

describe('a KEK that differs', () => {
  it('is refused when other bytes stand under the same id', async () => {
    const sealed = await seal(oldKms, context, plaintext);

    await expectRefused(createLocalKms(new Map([['old', newKek]]), 'old'), sealed);
  });

  it('is refused when the record names another KEK, even one with the same bytes', async () => {
    const sealed = await seal(oldKms, context, plaintext);
    const twins = createLocalKms(
      new Map([
        ['old', oldKek],
        ['twin', oldKek],
      ]),
      'old',
    );

    await expectRefused(twins, { ...sealed, kekId: 'twin' });
    await expectRefused(bothKms, { ...sealed, kekId: 'new' });
  });

  it('is missing once it was retired', async () => {
    const sealed = await seal(oldKms, context, plaintext);

    expect((await refusal(open(newKms, context, sealed))).code).toBe('KX_KEK_MISSING');
  });
});

describe('rewrap', () => {
  it('puts the data key under the active KEK and leaves nonce and ciphertext untouched', async () => {
    const sealed = await seal(oldKms, context, plaintext);

    const rewrapped = await rewrap(bothKms, context, sealed);

    expect(rewrapped).toMatchObject({
      format: 1,
      kekId: 'new',
      iv: sealed.iv,
      ciphertext: sealed.ciphertext,
    });
    expect(rewrapped.wrappedDek).not.toEqual(sealed.wrappedDek);
  });

  it('keeps secrets readable through a whole rotation and makes the old KEK useless', async () => {
    const sealed = await seal(oldKms, context, plaintext);
    expect(await open(bothKms, context, sealed)).toEqual(plaintext);

    const rewrapped = await rewrap(bothKms, context, sealed);

    expect(await open(bothKms, context, rewrapped)).toEqual(plaintext);
    expect(await open(newKms, context, rewrapped)).toEqual(plaintext);
    expect((await refusal(open(oldKms, context, rewrapped))).code).toBe('KX_KEK_MISSING');
  });

  it('refuses when the key service changed its active KEK between asking and wrapping', async () => {
    const rotating: Kms = { ...bothKms, activeKekId: 'old' };

    expect((await refusal(seal(rotating, context, plaintext))).code).toBe('KX_TEMPORARY');
  });
});

describe('what is left behind', () => {
  it('is no data key: all are zeroed after seal, open, rewrap and every refusal', async () => {
    const { spied, seen } = spyKms(bothKms);
    const sealed = await seal(spied, context, plaintext);

    await open(spied, context, sealed);
    await rewrap(spied, context, sealed);
    await expectRefused(spied, { ...sealed, ciphertext: flip(sealed.ciphertext, 0) });
    await refusal(seal({ ...spied, activeKekId: 'old' }, context, plaintext));

    expect(seen).toHaveLength(6);
    expect(seen.every((dek) => dek.equals(Buffer.alloc(32)))).toBe(true);
  });

  it('is no unauthenticated plaintext after a refusal', async () => {
    const sealed = await seal(oldKms, context, plaintext);
    const fill = vi.spyOn(Buffer.prototype, 'fill');

    await expectRefused(oldKms, { ...sealed, ciphertext: flip(sealed.ciphertext, 8 * plaintext.length) });

    const zeroedLengths = fill.mock.contexts.map((buffer) => (buffer as Buffer).length);
    fill.mockRestore();
    expect(zeroedLengths).toContain(plaintext.length);
  });

  it('is nothing secret in an error', async () => {
    const sealed = await seal(oldKms, context, plaintext);

    const error = await expectRefused(oldKms, sealed, { ...context, orgId: 'org_2' });

    expect(error.cause).toBeUndefined();
    expect(error.details).toEqual({});
    expect(`${error.message} ${error.why} ${error.hint}`).not.toMatch(/sk_live|org_|con_|tag|aad/i);
  });
});
