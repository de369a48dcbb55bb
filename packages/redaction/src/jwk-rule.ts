import type { Rule } from './rule.ts';
import type { Scan } from './scan.ts';

/** How far from its type the private part of a key is looked for: that of an RSA key stands behind the modulus. */
const BEFORE = 512;
const AFTER = 1024;

/** The private part of a JSON Web Key, `d` (RFC 7518 §6.2.2, §6.3.2), or `k` of a symmetric one (§6.4); public keys stay. */
export const jwkRule: Rule = {
  id: 'private-key',
  anchors: ['kty'],
  match(scan, start, end) {
    markParts(scan, Math.max(0, start - BEFORE), start);
    markParts(scan, end, Math.min(scan.codes.length, end + AFTER));
    return end + AFTER;
  },
};

function markParts(scan: Scan, from: number, to: number): void {
  for (const part of scan.text(from, to).matchAll(/(["']?)\b[dk]\1 ?: ?["']([\w-]{22,})/g)) {
    const end = from + part.index + part[0].length;
    scan.mark('private-key', end - (part[2] as string).length, end);
  }
}
