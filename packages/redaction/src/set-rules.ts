import { isReference, isTokenLike, MAX_JUDGED } from './judge-value.ts';
import type { Rule } from './rule.ts';
import { charClasses, isIn } from './runs.ts';
import type { Scan } from './scan.ts';
import { nameStrength } from './sensitive-names.ts';

const { blank, argument, name } = charClasses;

/** Characters before a password on standard input in which the command that writes it is looked for. */
const REACH = 256;

/** `ENV DB_PASSWORD …`, `set -gx TOKEN …`, `aws configure set aws_secret_access_key …`: a name and a value as two words. */
export const setRule: Rule = {
  id: 'option',
  anchors: ['env ', 'set ', 'set -gx ', 'set -x ', 'set -ux '],
  mayMatch: (glance, start) => glance.mayBegin(start),
  match(scan, start, end) {
    if (isIn(name, scan.codes[start - 1])) return 0;
    const nameEnd = scan.runs.endOf(argument, end);
    const nameStart = scan.runs.startOf(name, nameEnd);
    const from = scan.runs.endOf(blank, nameEnd);
    if (from === nameEnd || nameEnd - nameStart > 64) return 0;
    if (nameStrength(scan.text(nameStart, nameEnd)) !== 'strong') return 0;
    return markWord(scan, from);
  },
};

function markWord(scan: Scan, at: number): number {
  const from = ['"', "'"].includes(scan.char(at)) ? at + 1 : at;
  const to = scan.runs.endOf(charClasses.solid, from);
  if (to - from <= MAX_JUDGED) {
    const value = scan.text(from, to);
    if (!isTokenLike(value, 6) || isReference(value)) return 0;
  }
  scan.mark('option', from, to);
  return to;
}

/** `echo '…' | docker login --password-stdin`: a password that a command reads. */
export const stdinRule: Rule = {
  id: 'command-password',
  anchors: ['--password-stdin', '--with-token', 'sudo -s ', 'chpasswd'],
  match(scan, start, end) {
    const from = Math.max(0, start - REACH);
    const written = /(?:echo|printf)(?: -[ne]+)? +(["']?)([^\s"'|][^"'|\n]{3,199}?)\1 *\|[^|\n]*$/.exec(
      scan.text(from, start),
    );
    const value = written?.[2] ?? '';
    if (value === '' || isReference(value) || value.includes('$')) return 0;
    const at = scan.text(from, start).lastIndexOf(value);
    scan.mark('command-password', from + at, from + at + value.length);
    return end;
  },
};

/** `CREATE USER … IDENTIFIED BY '…'`. */
export const identifiedRule: Rule = {
  id: 'command-password',
  anchors: ['identified by '],
  match(scan, _start, end) {
    const quote = scan.char(end);
    if (quote !== "'" && quote !== '"') return 0;
    const value =
      /^[^"'\n]{1,128}(?=["'])/.exec(scan.text(end + 1, Math.min(end + 130, scan.codes.length)))?.[0] ?? '';
    if (value === '' || isReference(value)) return 0;
    scan.mark('command-password', end + 1, end + 1 + value.length);
    return end;
  },
};
