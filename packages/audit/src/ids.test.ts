import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createId, idPrefixes, isId } from './index.ts';

describe('ids', () => {
  it('are prefixed UUIDv7 in lower case with the version and variant bits of RFC 9562', () => {
    const ids = [() => Buffer.alloc(10, 0xff), () => Buffer.alloc(10)].map((random) =>
      createId('evt', 0x01890a5dac96, random),
    );

    expect(ids).toEqual([
      'evt_01890a5d-ac96-7fff-bfff-ffffffffffff',
      'evt_01890a5d-ac96-7000-8000-000000000000',
    ]);
  });

  it('sort as text in order of their milliseconds', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 40), fc.integer({ min: 1, max: 2 ** 40 }), (earlier, later) => {
        expect(createId('ses', earlier) < createId('ses', earlier + later)).toBe(true);
      }),
    );
  });

  it('are known by their own prefix only', () => {
    for (const made of idPrefixes) {
      const id = createId(made);
      expect(idPrefixes.filter((prefix) => isId(prefix, id))).toEqual([made]);
    }
  });

  it('have one spelling: other case, version, variant, length or surroundings are refused', () => {
    const id = createId('ses', Date.now(), randomBytes);

    const wrong = [
      id.toUpperCase(),
      id.replace(/-7(?=[0-9a-f]{3}-[89ab])/, '-4'),
      id.replace(/-[89ab](?=[0-9a-f]{3}-[0-9a-f]{12}$)/, '-c'),
      `${id}0`,
      ` ${id}`,
      `${id}\n`,
      id.slice(4),
      id.replaceAll('-', ''),
      null,
      7,
    ];

    expect(wrong.filter((text) => isId('ses', text))).toEqual([]);
  });
});
