import { hasDenseStretch, isPlainWord, isReference, MAX_JUDGED } from './judge-value.ts';
import type { Rule } from './rule.ts';
import { charClasses } from './runs.ts';
import type { Scan } from './scan.ts';

const { scheme, authority, address, path } = charClasses;

/** `user:password@` of any scheme (RFC 3986 §3.2.1), and a token that stands where the user should. */
export const urlPasswordRule: Rule = {
  id: 'url-password',
  anchors: ['://'],
  mayMatch: (glance, _start, end) => glance.mayHoldUser(end),
  match(scan, start, end) {
    if (scan.runs.startOf(scheme, start) === start) return 0;
    const userEnd = findInRun(scan, end, scan.runs.endOf(authority, end), ':');
    const at = findUserEnd(scan, end, userEnd);
    if (at < 0) return 0;
    if (userEnd >= 0 && userEnd < at) markPassword(scan, userEnd + 1, at);
    else if (isTokenUser(scan, end, at)) scan.mark('url-password', end, at);
    return at;
  },
};

/** Place of the last `@` of the authority; one behind a `/` counts only when what is before it is no port. */
function findUserEnd(scan: Scan, from: number, colon: number): number {
  const authorityEnd = scan.runs.endOf(authority, from);
  const near = findLastInRun(scan, from, authorityEnd, '@');
  if (near >= 0 || colon < 0 || /^\d*$/.test(scan.text(colon + 1, Math.min(authorityEnd, colon + 7))))
    return near;
  const end = Math.min(scan.runs.endOf(address, authorityEnd), authorityEnd + MAX_JUDGED);
  return findInRun(scan, authorityEnd, end, '@');
}

function markPassword(scan: Scan, from: number, to: number): void {
  const judged = to - from > MAX_JUDGED ? null : scan.text(from, to);
  if (judged !== null && (judged === '' || isReference(judged) || isPlainWord(judged))) return;
  scan.mark('url-password', from, to);
}

function isTokenUser(scan: Scan, from: number, to: number): boolean {
  return to - from >= 16 && (to - from > MAX_JUDGED || hasDenseStretch(scan.text(from, to), 16));
}

function findInRun(scan: Scan, from: number, to: number, char: string): number {
  const end = Math.min(to, from + MAX_URL);
  for (let i = from; i < end; i += 1) {
    if (scan.codes[i] === char.charCodeAt(0)) {
      scan.spend(i - from);
      return i;
    }
  }
  scan.spend(Math.max(0, end - from));
  return -1;
}

function findLastInRun(scan: Scan, from: number, to: number, char: string): number {
  const end = Math.min(to, from + MAX_URL);
  scan.spend(Math.max(0, end - from));
  for (let i = end - 1; i >= from; i -= 1) {
    if (scan.codes[i] === char.charCodeAt(0)) return i;
  }
  return -1;
}

/** Longest user and password that are looked for. */
const MAX_URL = 2048;

/** The secret part of an incoming webhook: whoever knows the address can post. */
export const webhookRule: Rule = {
  id: 'slack-webhook',
  anchors: ['hooks.slack.com/'],
  match(scan, _start, end) {
    const to = scan.runs.endOf(path, end);
    const text = scan.text(end, Math.min(to, end + MAX_JUDGED));
    const kind = /^(?:services|workflows|triggers)\//.exec(text)?.[0];
    if (kind === undefined || !hasDenseStretch(text.slice(kind.length).replaceAll('/', '-'), 8)) return to;
    scan.mark('slack-webhook', end + kind.length, scan.char(to - 1) === '.' ? to - 1 : to);
    return to;
  },
};

/** The signature in the address of a presigned download, which opens it to everybody. */
export const signedUrlRule: Rule = {
  id: 'signed-url',
  anchors: ['x-amz-signature=', 'x-amz-security-token=', 'x-goog-signature=', 'sig='],
  mayMatch: ({ codes }, start) => [0x3f, 0x26, 0x3b].includes(codes[start - 1] ?? 0),
  match(scan, start, end) {
    if (!['?', '&', ';'].includes(scan.char(start - 1))) return 0;
    const to = scan.runs.endOf(charClasses.bare, end);
    const value = scan.text(end, Math.min(to, end + MAX_JUDGED));
    if (value.length < 16 || isPlainWord(value) || isReference(value)) return 0;
    scan.mark('signed-url', end, to);
    return to;
  },
};
