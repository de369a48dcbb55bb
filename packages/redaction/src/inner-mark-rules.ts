import { MAX_JUDGED } from './judge-value.ts';
import type { Rule } from './rule.ts';
import { charClasses, isIn } from './runs.ts';
import type { Scan } from './scan.ts';

const { base64url, dotted, address } = charClasses;

/** A token whose own mark stands inside it or at its end. */
interface InnerMark {
  readonly anchor: string;
  /** As issued, case included. */
  readonly mark: string;
  /** The most characters a token has before its mark and behind it. */
  readonly reach: readonly [number, number];
  /** What stands before the mark, to its end. */
  readonly before: RegExp;
  /** What stands behind it, from its beginning. */
  readonly after: RegExp;
}

const marks: readonly InnerMark[] = [
  // Telegram: the number of the bot and a secret; also in the address of its API, behind `bot`.
  {
    anchor: ':aa',
    mark: ':AA',
    reach: [12, 34],
    before: /(?:^|\D)(\d{8,10})$/,
    after: /^[\w-]{33}(?![\w-])/,
  },
  // Mailchimp: a hash and the data centre.
  { anchor: '-us', mark: '-us', reach: [33, 4], before: /(?:^|\W)([0-9a-f]{32})$/, after: /^\d{1,2}(?!\w)/ },
  // New Relic: licence keys end so.
  { anchor: 'nral', mark: 'NRAL', reach: [37, 1], before: /(?:^|\W)([0-9a-f]{36})$/, after: /^(?!\w)/ },
  // HCP Terraform.
  {
    anchor: '.atlasv1.',
    mark: '.atlasv1.',
    reach: [15, 128],
    before: /(?:^|\W)([A-Za-z0-9]{14})$/,
    after: /^[\w-]{60,}/,
  },
  // Entra: secrets of applications have a version before the mark.
  {
    anchor: 'q~',
    mark: 'Q~',
    reach: [5, 36],
    before: /(?:^|[^\w.~-])([\w.~-]{3}\d)$/,
    after: /^[\w.~-]{31,34}(?![\w~-])/,
  },
  // Azure DevOps: 84 characters, the mark before the last four.
  {
    anchor: 'azdo',
    mark: 'AZDO',
    reach: [77, 5],
    before: /(?:^|\W)([A-Za-z0-9]{76})$/,
    after: /^[A-Za-z0-9]{4}(?!\w)/,
  },
];

/** Tokens with a mark of their provider's inside. All that is looked at is bounded. */
export const innerMarkRules: readonly Rule[] = marks.map(({ anchor, mark, reach, before, after }) => ({
  id: 'provider-token',
  anchors: [anchor],
  mayMatch: (glance, start) =>
    glance.hasToken(start, mark, dotted, 0) && isIn(dotted, glance.codes[start - 1]),
  match(scan, start, end) {
    if (!scan.hasAt(start, mark) || !isIn(dotted, scan.codes[start - 1])) return 0;
    const head = before.exec(scan.text(Math.max(0, start - reach[0]), start))?.[1];
    if (head === undefined) return 0;
    const tail = after.exec(scan.text(end, Math.min(scan.codes.length, end + reach[1])))?.[0];
    if (tail === undefined) return 0;
    scan.mark('provider-token', start - head.length, end + tail.length);
    return end;
  },
}));

/** A line of a pgpass file: `host:port:database:user:password` (PostgreSQL, "The Password File"), on the usual port. */
export const pgpassRule: Rule = {
  id: 'pgpass',
  anchors: [':5432:'],
  match(scan, start, end) {
    if (!isIn(base64url, scan.codes[start - 1])) return 0;
    const to = scan.runs.endOf(address, end);
    const rest = scan.text(end, Math.min(to, end + MAX_JUDGED));
    const fields = /^[\w.*-]+:[\w.*-]+:(?=[^:]{3})/.exec(rest)?.[0];
    if (fields === undefined || rest.startsWith('$', fields.length)) return 0;
    scan.mark('pgpass', end + fields.length, to);
    return to;
  },
};

/** `user:password@tcp(host)`, as drivers of Go write an address. */
export const driverRule: Rule = {
  id: 'url-password',
  anchors: ['@tcp', '@unix'],
  match(scan, start, end) {
    if (scan.char(end) !== '(') return 0;
    const before = scan.text(Math.max(0, start - MAX_JUDGED), start);
    const password = /(?:^|[\s"'`=])[\w.-]+:([^\s"'`:]+)$/.exec(before)?.[1];
    if (password === undefined || isReferenceStart(scan, start - password.length)) return 0;
    scan.mark('url-password', start - password.length, start);
    return end;
  },
};

const isReferenceStart = (scan: Scan, at: number): boolean => ['$', '%', '{', '<'].includes(scan.char(at));
