import { describe, expect, it } from 'vitest';
import { createPasscode, hashPasscode, verifyPasscode } from './passcode.ts';

describe('passcodes', () => {
  it('are three groups of four without letters that look alike, and differ', () => {
    const made = Array.from({ length: 200 }, createPasscode);
    for (const passcode of made) expect(passcode).toMatch(/^[2-9A-HJ-NP-Z]{4}(-[2-9A-HJ-NP-Z]{4}){2}$/);
    expect(new Set(made).size).toBe(200);
  });

  it('verify in any case and with or without dashes, and nothing else does', async () => {
    const stored = await hashPasscode('ABCD-2345-WXYZ');
    for (const typed of ['ABCD-2345-WXYZ', 'abcd 2345 wxyz', 'ABCD2345WXYZ']) {
      expect(await verifyPasscode(typed, stored)).toBe(true);
    }
    for (const typed of ['ABCD-2345-WXY2', '', 'ABCD-2345'])
      expect(await verifyPasscode(typed, stored)).toBe(false);
  });

  it('are salted: one passcode hashes to two hashes', async () => {
    const [a, b] = [await hashPasscode('ABCD-2345-WXYZ'), await hashPasscode('ABCD-2345-WXYZ')];
    expect(a.hash.equals(b.hash)).toBe(false);
  });

  it.each(['', 'N=1', 'N=99999999,r=8,p=1'])(
    'do not verify against unreadable parameters %j',
    async (params) => {
      const stored = await hashPasscode('ABCD-2345-WXYZ');
      expect(await verifyPasscode('ABCD-2345-WXYZ', { ...stored, params })).toBe(false);
    },
  );
});
