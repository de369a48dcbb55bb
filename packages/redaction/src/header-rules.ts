import type { Glance } from './glance.ts';
import { isReference, isTokenLike, MAX_JUDGED } from './judge-value.ts';
import type { Rule } from './rule.ts';
import { charClasses, isIn } from './runs.ts';
import type { Scan } from './scan.ts';

const { white, blank, token68, word, line, name } = charClasses;

/** A bearer token after its scheme (RFC 6750 §2.1); "the bearer of bad news" has none. */
export const bearerRule: Rule = {
  id: 'bearer',
  anchors: ['bearer', 'dpop'],
  mayMatch: isFollowedByWhite,
  match(scan, start, end) {
    if (isIn(word, scan.codes[start - 1])) return 0;
    const from = scan.runs.endOf(white, end);
    const to = scan.runs.endOf(token68, from);
    if (from === end || !isTokenLike(scan.text(from, Math.min(to, from + MAX_JUDGED)), 12)) return 0;
    scan.mark('bearer', from, scan.char(to - 1) === '.' ? to - 1 : to);
    return to;
  },
};

/** Basic credentials (RFC 7617 §2): base64 that decodes to a text with a colon. */
export const basicRule: Rule = {
  id: 'basic',
  anchors: ['basic'],
  mayMatch: isFollowedByWhite,
  match(scan, start, end) {
    if (isIn(word, scan.codes[start - 1])) return 0;
    const from = scan.runs.endOf(white, end);
    const to = scan.runs.endOf(charClasses.base64, from);
    if (from === end || to - from < 6 || isIn(name, scan.codes[to])) return 0;
    const decoded = Buffer.from(scan.text(from, Math.min(to, from + MAX_JUDGED)), 'base64').toString(
      'latin1',
    );
    if (!/^[\x20-\x7e\x80-\xff]*$/.test(decoded) || !decoded.includes(':')) return 0;
    scan.mark('basic', from, to);
    return to;
  },
};

/** White space, or the escape of it. */
function isFollowedByWhite({ codes }: Glance, _start: number, end: number): boolean {
  return isIn(white, codes[end]) || codes[end] === 0x5c;
}

const schemes =
  /^(?:bearer|basic|digest|dpop|negotiate|ntlm|token|apikey|api-key|key|aws4-hmac-sha256|hawk|hoba|mutual|scram-sha-256|vapid)\s+/i;

/** A provider's own scheme, when one word follows that has a digit and is no short one. */
const ownScheme = /^[A-Za-z][A-Za-z-]{2,30} (?=[\w.~+/=-]{0,99}\d)(?=[\w.~+/=-]{16,}\s*$)/;

/** The value of an `Authorization` or `Proxy-Authorization` header (RFC 9110 §11.6.2), to the end of its line or quote. */
export const authorizationRule: Rule = {
  id: 'authorization-header',
  anchors: ['authorization'],
  mayMatch: ({ codes }, _start, end) => codes[end] === 0x3a,
  match(scan, start, end) {
    const header = readHeader(scan, start, end);
    if (!header) return 0;
    const value = scan.text(header.from, Math.min(header.to, header.from + MAX_JUDGED));
    const scheme = (schemes.exec(value) ?? ownScheme.exec(value))?.[0] ?? '';
    const credentials = value.slice(scheme.length);
    if (credentials === '' || isReference(credentials.trim())) return 0;
    if (scheme === '' && (/\s/.test(credentials.trim()) || !isTokenLike(credentials, 8))) return 0;
    scan.mark('authorization-header', header.from + scheme.length, header.to);
    return header.to;
  },
};

/** The pairs of a `Cookie` or `Set-Cookie` header (RFC 6265 §4), to the end of its line or quote. */
export const cookieRule: Rule = {
  id: 'cookie-header',
  anchors: ['cookie:', 'cookie2:'],
  match(scan, start, end) {
    const header = readHeader(scan, start, end - 1);
    if (!header) return 0;
    const value = scan.text(header.from, Math.min(header.to, header.from + 128));
    const pair = /^([^\s=;,"'(){}]+)=(.+)/.exec(value);
    if (!pair || isReference((pair[2] ?? '').trim()) || /^["'`({]/.test(pair[2] ?? '')) return 0;
    scan.mark('cookie-header', header.from, header.to);
    return header.to;
  },
};

/** The value behind a header's colon: to the quote that was open before its name, or to the end of the line. */
function readHeader(scan: Scan, start: number, end: number): { from: number; to: number } | null {
  if (scan.char(end) !== ':') return null;
  const from = scan.runs.endOf(blank, end + 1);
  const nameStart = scan.runs.startOf(name, start);
  const lineEnd = scan.runs.endOf(line, from);
  const quote = scan.char(nameStart - 1);
  if (!['"', "'", '`'].includes(quote)) return { from, to: lineEnd };
  for (let i = from; i < lineEnd; i += 1) {
    if (scan.codes[i] !== quote.charCodeAt(0)) continue;
    scan.spend(i - from);
    return { from, to: i };
  }
  scan.spend(lineEnd - from);
  return { from, to: lineEnd };
}
