import type { Rule } from './rule.ts';
import { charClasses, isIn } from './runs.ts';
import type { Scan } from './scan.ts';

const { alnum, word } = charClasses;

/** How far from a key id its secret is looked for. */
const REACH = 256;
const ID_LENGTH = 20;
const SECRET_LENGTH = 40;

/** An access key id of AWS (IAM user guide, "unique identifiers"), and the secret access key that stands near it. */
export const awsRule: Rule = {
  id: 'aws-key',
  anchors: ['akia', 'asia'],
  match(scan, start) {
    if (isIn(word, scan.codes[start - 1])) return 0;
    const to = scan.runs.endOf(alnum, start);
    if (to - start !== ID_LENGTH || isIn(word, scan.codes[to])) return 0;
    const id = scan.text(start, to);
    if (!/^(?:AKIA|ASIA)[A-Z0-9]{16}$/.test(id) || /X{12}$/.test(id)) return 0;
    scan.mark('aws-key', start, to);
    markSecretNear(scan, Math.max(0, start - REACH), start);
    markSecretNear(scan, to, Math.min(scan.codes.length, to + REACH));
    return to;
  },
};

function markSecretNear(scan: Scan, from: number, to: number): void {
  scan.spend(to - from);
  let runStart = from;
  for (let i = from; i <= to; i += 1) {
    if (i < to && isSecretCode(scan.codes[i])) continue;
    if (i - runStart === SECRET_LENGTH && isSecret(scan, runStart, i)) scan.mark('aws-key', runStart, i);
    runStart = i + 1;
  }
}

/** `=` and `:` end the run: they stand between a name and the key. */
const isSecretCode = (code: number | undefined): boolean =>
  isIn(alnum, code) || code === 0x2b || code === 0x2f;

/** A commit hash has 40 characters too, but one case. */
const isSecret = (scan: Scan, from: number, to: number): boolean => {
  const text = scan.text(from, to);
  return /[A-Z]/.test(text) && /[a-z]/.test(text) && /\d/.test(text);
};
