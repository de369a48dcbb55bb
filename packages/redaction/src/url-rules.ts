import { hasDenseStretch, isPlainWord, isReference, MAX_JUDGED } from './judge-value.ts';
import type { Rule } from './rule.ts';
import { charClasses } from './runs.ts';
import type { Scan } from './scan.ts';

const { scheme, authority, address, webhookPath } = charClasses;

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

/** Where incoming webhooks live, and what stands before the secret in their paths. */
const webhooks: readonly { readonly id: string; readonly host: string; readonly kind: RegExp }[] = [
  { id: 'slack-webhook', host: 'hooks.slack.com/', kind: /^(?:services|workflows|triggers)\// },
  { id: 'webhook', host: 'discord.com/api/', kind: /^(?:v\d+\/)?webhooks\/\d+\// },
  { id: 'webhook', host: 'discordapp.com/api/', kind: /^(?:v\d+\/)?webhooks\/\d+\// },
  { id: 'webhook', host: '.webhook.office.com/', kind: /^webhookb2\/[\w-]+@[\w-]+\/IncomingWebhook\// },
  { id: 'webhook', host: 'hooks.zapier.com/', kind: /^hooks\/catch\/\d+\// },
];

/** The secret part of an incoming webhook: whoever knows the address can post. */
export const webhookRules: readonly Rule[] = webhooks.map(({ id, host, kind }) => ({
  id,
  anchors: [host],
  match(scan, _start, end) {
    const to = scan.runs.endOf(webhookPath, end);
    const text = scan.text(end, Math.min(to, end + MAX_JUDGED));
    const before = kind.exec(text)?.[0];
    if (before === undefined || !hasDenseStretch(text.slice(before.length).replaceAll('/', '-'), 6))
      return to;
    scan.mark(id, end + before.length, scan.char(to - 1) === '.' ? to - 1 : to);
    return to;
  },
}));

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
