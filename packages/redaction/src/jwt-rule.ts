import type { Rule } from './rule.ts';
import { charClasses, isIn } from './runs.ts';

const { base64url } = charClasses;

/** Shortest part of a token that is looked at: `{"alg":"none"}` takes 19 characters. */
const MIN_PART = 10;

/** A JWS or JWE in compact form (RFC 7515 §7.1, RFC 7516 §7.1), also without its last part. */
export const jwtRule: Rule = {
  id: 'jwt',
  anchors: ['eyj'],
  mayMatch: (glance, start) => glance.hasToken(start, 'eyJ', base64url, MIN_PART - 3),
  match(scan, start) {
    // Base64 of `{"`: without a second part it is any JSON, such as a source map.
    if (!scan.hasAt(start, 'eyJ') || isIn(base64url, scan.codes[start - 1])) return 0;
    const header = scan.runs.endOf(base64url, start);
    if (header - start < MIN_PART || scan.char(header) !== '.') return header;
    let to = scan.runs.endOf(base64url, header + 1);
    const isSecond = to - header > MIN_PART || scan.char(to) === '.';
    if (!isSecond) return header;
    for (let part = 3; part <= 5 && scan.char(to) === '.'; part += 1) to = scan.runs.endOf(base64url, to + 1);
    scan.mark('jwt', start, scan.char(to - 1) === '.' ? to - 1 : to);
    return to;
  },
};
