/** `kontext audit verify <file>`: nothing is read but the file, the keys that were given and what this machine has pinned. */
import { createReadStream, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import {
  type BundleReport,
  parseFirstLine,
  parseVerifierKey,
  readBundleLines,
  type TrustedKeys,
  verifyBundle,
} from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { Context } from '../context.ts';
import { readPinnedLogs } from '../witness/pinned-logs.ts';

/**
 * Verifies an exported bundle and says what was found.
 *
 * @returns The exit code; null for the file of a local session, which has no signature and is verified otherwise.
 * @throws KontextError `KX_BUNDLE_INVALID` when it is no bundle; `KX_AUDIT_SIGNATURE` for a local file, when a key was given.
 */
export async function verifyFile(
  context: Context,
  path: string,
  options: { readonly keys: readonly string[]; readonly json: boolean },
): Promise<number | null> {
  const { terminal, config } = context;
  const keys = readGivenKeys(options.keys, config.cwd);
  const pinned = await readPinnedLogs(context);
  const report = await verifyExport(path, config.cwd, { keys, pinned });
  if (report === null) {
    if (keys.length === 0) return null;
    throw new KontextError('KX_AUDIT_SIGNATURE', `${path} bears no signature`, {
      why: 'it is the file of a session without a backend',
    });
  }
  if (options.json) terminal.json(report);
  else for (const line of reportFacts(report)) terminal.out(line);
  for (const line of reportWords(report)) report.ok ? terminal.note(line) : terminal.warn(line);
  return report.exitCode;
}

/**
 * Verifies an exported bundle.
 *
 * @param path Relative to `cwd`.
 * @returns Null for the file of a local session, which has no signature and is verified otherwise.
 * @throws KontextError `KX_BUNDLE_INVALID` when it is no bundle, or cannot be read.
 */
async function verifyExport(path: string, cwd: string, trust: TrustedKeys): Promise<BundleReport | null> {
  const lines = readBundleLines(readFile(resolve(cwd, path), path));
  const first = await lines.next();
  if (first.done) throw noFile(path, 'it is empty');
  if (parseFirstLine(first.value[0] ?? '') === null) {
    await lines.return(undefined);
    return null;
  }
  return verifyBundle(withFirst(first.value, lines), trust);
}

async function* withFirst<T>(first: T, rest: AsyncIterable<T>): AsyncGenerator<T> {
  yield first;
  yield* rest;
}

async function* readFile(path: string, shown: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(path, { highWaterMark: 1 << 20 });
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'an unknown error';
    throw noFile(shown, code === 'ENOENT' ? 'there is no such file' : `the system answered ${code}`, cause);
  }
}

const noFile = (path: string, why: string, cause?: unknown): KontextError =>
  new KontextError('KX_BUNDLE_INVALID', `${path} cannot be verified`, { why, ...(cause ? { cause } : {}) });

/**
 * Reads what was given with `--key`: a verifier key, or a file with one per line.
 *
 * @throws KontextError `KX_USAGE` when it is neither.
 */
function readGivenKeys(given: readonly string[], cwd: string): string[] {
  return given.flatMap((text) => {
    if (parseVerifierKey(text.trim()) !== null) return [text.trim()];
    const keys = readLines(resolve(cwd, text)).filter((line) => parseVerifierKey(line) !== null);
    if (keys.length > 0) return keys;
    throw new KontextError('KX_USAGE', '--key cannot be used', {
      why: 'it is no verifier key (name+id+base64), and no file that holds one',
      hint: '`kontext audit checkpoint` shows the key of your organisation’s log',
    });
  });
}

const maxKeyFileBytes = 65_536;

function readLines(path: string): string[] {
  try {
    const text = readFileSync(path, 'utf8');
    return text.length > maxKeyFileBytes ? [] : text.split('\n').map((line) => line.trim());
  } catch {
    return [];
  }
}

/** The report as lines of result. */
function reportFacts(report: BundleReport): string[] {
  const { log, size, scope, query, createdAt, segments, streams, events, skipped, withheld, missing } =
    report;
  const part = `${segments} of ${size} segments${query === '' ? '' : `, chosen by: ${query}`}`;
  const gone = [
    ...(withheld > 0 ? [`${withheld} payloads ${report.payloads ? 'erased or withheld' : 'left out'}`] : []),
    ...(missing > 0 ? [`${missing} events written without payload`] : []),
  ];
  return [
    `log      ${log}, ${size} segments, exported ${createdAt}`,
    `holds    ${scope === 'whole' && skipped === 0 ? 'all of it' : part}: ${events} events in ${streams} streams`,
    ...(gone.length > 0 ? [`without  ${gone.join(', ')}`] : []),
    `signed   ${report.key === '' ? 'no' : `${report.key} (${trustTexts[report.trust ?? 'nobody']})`}`,
    ...report.findings.map(
      ({ code, line, streamId, seq, sentence }) =>
        `BAD      ${[line > 0 ? `line ${line}` : 'the file', streamId, seq > 0 ? `event ${seq}` : ''].filter(Boolean).join(', ')}: ${sentence} (${code})`,
    ),
    ...(report.findingCount > report.findings.length
      ? [`         and ${report.findingCount - report.findings.length} more`]
      : []),
  ];
}

const trustTexts = {
  given: 'the key you gave',
  pinned: 'the key this machine has pinned',
  nobody: 'a key that nobody vouches for here',
} as const;

/** What was proven, what was not, and what to do; for a person. */
function reportWords(report: BundleReport): string[] {
  const { exitCode, scope, skipped, witness } = report;
  if (exitCode !== 0 && exitCode !== 14)
    return [nextSteps[exitCode] ?? 'keep the file and ask for another export'];
  const sure = exitCode === 0 ? 'proven' : 'fits together';
  const isWhole = scope === 'whole' && skipped === 0;
  return [
    `${sure}: no event of the file was changed, moved, added or taken out since the log was signed`,
    isWhole
      ? `${sure}: nothing of the log up to this checkpoint is missing`
      : 'not proven: whether a stream of the file goes on in a part of the log that is not in it',
    ...(witness === 'agrees' ? ['proven: the log begins with what this machine has seen of it'] : []),
    ...(witness === 'not comparable'
      ? ['not compared: what this machine has seen of the log lies elsewhere than this file can show']
      : []),
    ...(report.unprovenKinds > 0
      ? [
          `not proven: of ${report.unprovenKinds} streams, whether a client or the backend wrote them: their events could be of either`,
        ]
      : []),
    'not proven: what happened after the checkpoint, and what payloads said that are not there',
    ...(exitCode === 14
      ? ['next: ask somebody you trust for the key of the log, and verify again with `--key`']
      : []),
  ];
}

const nextSteps: Readonly<Record<number, string>> = {
  10: 'something was taken out of the file or of the log: ask for another export, compare, and keep both',
  11: 'there are two histories: keep this file and what this machine has seen, and ask whoever runs the backend',
  12: 'the signature does not hold: make sure of the key with somebody you trust, and trust nothing in the file until then',
  13: 'the file was cut off, as by a broken download: fetch it again; what it holds up to there fits together',
  15: 'the file is not what was signed: fetch it again; if it stays so, keep it and ask whoever runs the backend',
};
