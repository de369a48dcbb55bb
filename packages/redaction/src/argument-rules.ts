import { hasDenseStretch, isPlainWord, isReference, MAX_JUDGED } from './judge-value.ts';
import type { Rule } from './rule.ts';
import { charClasses, isIn } from './runs.ts';
import type { Scan } from './scan.ts';
import { nameStrength } from './sensitive-names.ts';

const { name, blank, white, argument, word } = charClasses;

/** `--password value`, `-token value`: an option with a sensitive name and its value as the next word. */
export const optionRule: Rule = {
  id: 'option',
  anchors: ['pass', 'pwd', 'secret', 'token', 'key', 'cred', 'auth'],
  // The rule of assignments has the same anchors, and answers for this one.
  mayMatch: () => false,
  match(scan, start) {
    const from = scan.runs.startOf(name, start);
    const to = scan.runs.endOf(name, start);
    if (scan.char(from) !== '-' || to - from > 64) return to;
    const value = scan.runs.endOf(blank, to);
    if (value === to || nameStrength(scan.text(from, to)) !== 'strong') return to;
    return Math.max(to, markArgument(scan, 'option', value));
  },
};

/** Marks one word of a command line, with or without quotes, and says where it ends. */
function markArgument(scan: Scan, rule: string, at: number): number {
  const quote = scan.char(at);
  const isQuoted = quote === '"' || quote === "'";
  const from = isQuoted ? at + 1 : at;
  const runEnd = scan.runs.endOf(isQuoted ? charClasses.line : charClasses.solid, from);
  const to = isQuoted ? closingQuote(scan, from, runEnd) : runEnd;
  if (to === from) return to;
  const value = scan.text(from, Math.min(to, from + MAX_JUDGED));
  const isFlag = !isQuoted && value.startsWith('-');
  if (!isFlag && !isReference(value) && !isPlainWord(value) && !/^[|>&;<()]/.test(value))
    scan.mark(rule, from, to);
  return to;
}

function closingQuote(scan: Scan, from: number, lineEnd: number): number {
  const quote = scan.codes[from - 1];
  let to = from;
  while (to < lineEnd && scan.codes[to] !== quote) to += 1;
  scan.spend(to - from);
  return to;
}

/** A command whose short option is a password, and how it takes it. */
interface PasswordCommand {
  readonly command: string;
  /** The option, with its dash. */
  readonly option: string;
  /** Whether the value may be the next word; otherwise it is what follows in the same word. */
  readonly spaced: boolean;
  /** `user` when the value is `user:password`, `cookie` when it holds pairs or names a file. */
  readonly value: 'password' | 'user' | 'cookie';
}

const commands: readonly PasswordCommand[] = [
  ...['mysql', 'mariadb', 'mysqldump', 'mysqladmin', 'mariadb-dump', '7z', '7za'].map(
    (command) => ({ command, option: '-p', spaced: false, value: 'password' }) as const,
  ),
  ...['sshpass', 'mongosh', 'mongo', 'mongodump', 'docker login', 'podman login']
    .concat('helm registry login', 'az login', 'twine upload', 'oc login')
    .map((command) => ({ command, option: '-p', spaced: true, value: 'password' }) as const),
  { command: 'redis-cli', option: '-a', spaced: true, value: 'password' },
  { command: 'ldapsearch', option: '-w', spaced: true, value: 'password' },
  { command: 'sqlcmd', option: '-P', spaced: true, value: 'password' },
  ...['unzip', 'zip', 'ipmitool'].map(
    (command) => ({ command, option: '-P', spaced: true, value: 'password' }) as const,
  ),
  ...['-u', '--user', '-U', '--proxy-user'].map(
    (option) => ({ command: 'curl', option, spaced: true, value: 'user' }) as const,
  ),
  ...['-b', '--cookie'].map(
    (option) => ({ command: 'curl', option, spaced: true, value: 'cookie' }) as const,
  ),
  { command: 'ssm put-parameter', option: '--value', spaced: true, value: 'password' },
  ...['-b', '--body'].map(
    (option) => ({ command: 'secret set', option, spaced: true, value: 'password' }) as const,
  ),
  { command: 'http', option: '-a', spaced: true, value: 'user' },
];

/** Words of a command line that are looked at after a command's name. */
const MAX_WORDS = 64;

/** `-p` and its like, after the commands where it is a password: `mkdir -p`, `ssh -p 22` and `docker run -p` stay. */
export const commandRules: readonly Rule[] = commands.map((spec) => ({
  id: 'command-password',
  anchors: [`${spec.command} `],
  mayMatch: (glance, start) => glance.mayBegin(start),
  match(scan, start, end) {
    if (isIn(name, scan.codes[start - 1])) return 0;
    let at = end;
    for (let count = 0; count < MAX_WORDS; count += 1) {
      const from = nextArgument(scan, at);
      const to = scan.runs.endOf(argument, from);
      if (to === from || ['|', ';', '&&', '||', '&'].includes(scan.text(from, Math.min(to, from + 3))))
        return to;
      // `mysql app; mkdir -pv x` is two commands.
      if (scan.char(to - 1) === ';') return to;
      const option = optionAt(scan, spec, from, to);
      at = option < 0 ? to : Math.max(to, matchOption(scan, spec, option, to));
    }
    return at;
  },
}));

/** Where the next word begins; a command goes on in the next line behind a backslash. */
function nextArgument(scan: Scan, at: number): number {
  const from = scan.runs.endOf(blank, at);
  const isContinued = scan.char(from) === '\\' && ['\n', '\r'].includes(scan.char(from + 1));
  return isContinued ? scan.runs.endOf(white, from + 1) : from;
}

/** Where an option stands in a word: at its beginning, or as the last of several letters, `-sSLu`; -1 when it does not. */
function optionAt(scan: Scan, spec: PasswordCommand, from: number, to: number): number {
  if (scan.hasAt(from, spec.option)) return from;
  if (spec.command !== 'curl' || to - from > 8) return -1;
  return /^-[a-zA-Z]+$/.test(scan.text(from, to)) &&
    scan.char(to - 1) === spec.option[1] &&
    spec.option.length === 2
    ? to - 2
    : -1;
}

function matchOption(scan: Scan, spec: PasswordCommand, from: number, to: number): number {
  const optionEnd = from + spec.option.length;
  const isAttached = optionEnd < to;
  // `--user-agent` is another option than `--user`; `-uuser:password` and `-psecret` are the short ones.
  if (isAttached && spec.option.startsWith('--') && scan.char(optionEnd) !== '=') return to;
  if (!isAttached && !spec.spaced) return to;
  const value = isAttached
    ? optionEnd + (scan.char(optionEnd) === '=' ? 1 : 0)
    : scan.runs.endOf(blank, optionEnd);
  if (
    spec.value === 'cookie' &&
    !/^["']?[\w.-]+=[^\s$]/.test(scan.text(value, Math.min(value + 64, scan.codes.length)))
  )
    return to;
  if (spec.value !== 'user') return markArgument(scan, 'command-password', value);
  return markUserPassword(scan, value);
}

function markUserPassword(scan: Scan, at: number): number {
  const quote = scan.char(at);
  const isQuoted = quote === '"' || quote === "'";
  const from = isQuoted ? at + 1 : at;
  const to = isQuoted
    ? closingQuote(scan, from, scan.runs.endOf(charClasses.line, from))
    : scan.runs.endOf(charClasses.solid, from);
  const text = scan.text(from, Math.min(to, from + MAX_JUDGED));
  const colon = text.indexOf(':');
  const password = text.slice(colon + 1);
  if (colon < 0) {
    if (hasDenseStretch(text, 16)) scan.mark('command-password', from, to);
  } else if (password !== '' && !isReference(password) && !isPlainWord(password))
    scan.mark('command-password', from + colon + 1, to);
  return to;
}

/** Words of a netrc entry: two for the machine, two for each of login, password and account. */
const MAX_NETRC_WORDS = 8;

/** `machine … login … password …` on one line or several, as ftp(1) documents the netrc file. */
export const netrcRule: Rule = {
  id: 'netrc',
  anchors: ['machine ', 'default login '],
  mayMatch: (glance) => glance.text.includes('password'),
  match(scan, start, end) {
    if (isIn(word, scan.codes[start - 1])) return 0;
    const isDefault = scan.char(start).toLowerCase() === 'd';
    let at = isDefault ? end - 'login '.length : nextWord(scan, end).to;
    for (let count = 0; count < MAX_NETRC_WORDS; count += 2) {
      const keyword = nextWord(scan, at);
      const value = nextWord(scan, keyword.to);
      const text = scan.text(keyword.from, Math.min(keyword.to, keyword.from + 10));
      if (!['login', 'account', 'password'].includes(text) || value.to === value.from) return 0;
      at = value.to;
      if (text !== 'password') continue;
      markArgument(scan, 'netrc', value.from);
      return at;
    }
    return 0;
  },
};

function nextWord(scan: Scan, at: number): { from: number; to: number } {
  const from = scan.runs.endOf(white, at);
  return { from, to: scan.runs.endOf(argument, from) };
}
