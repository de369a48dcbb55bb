import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import {
  createStreamVerifier,
  deriveColumns,
  type Finding,
  firstLink,
  parseHeader,
  type StoredRow,
  type StreamHead,
} from '@kontext/audit';
import { errorTable, KontextError } from '@kontext/errors';
import type { StreamReport } from './verify-streams.ts';

/**
 * Verifies an audit bundle (see `local-audit-file.ts`) without any backend: nothing but the file is read.
 *
 * A file that does not end in order, because its session was killed or its end was cut off, is verified up to its last whole
 * line and reported as truncated (exit code 13). What cannot be seen: a file that was written anew as a whole.
 *
 * @param path Relative to `cwd`.
 * @param logs Verifier keys of logs this machine knows: what is of their organisations has a signature, or is not to be believed.
 * @returns One report per stream of the file.
 * @throws KontextError `KX_BUNDLE_INVALID` when it is no bundle, or of another version; `KX_AUDIT_SIGNATURE` when a log that is
 *   known should have signed it.
 */
export async function verifyBundle(
  path: string,
  cwd: string,
  logs: readonly string[] = [],
): Promise<StreamReport[]> {
  const streams = new Map<string, OpenStream>();
  const end: EndOfFile = { torn: false, wrong: [] };
  let number = 0;
  for await (const { text, whole } of readLines(resolve(cwd, path), path)) {
    number += 1;
    const line = parseLine(text);
    if (number === 1) checkFirst(line, path);
    else if (!whole) end.torn = true;
    else if (line === null || !takeLine(streams, line)) end.wrong.push(number);
    if (isObject(line?.stream)) checkUnsigned(line.stream, logs, path);
  }
  if (number === 0) throw noBundle(path, 'it is empty');
  return [...streams].map(([id, stream]) => report(id, stream, end));
}

/** What is wrong with lines, which belong to no stream. */
interface EndOfFile {
  /** The last line has no line break: it was not written whole. */
  torn: boolean;
  /** Numbers of lines that are no JSON objects, or cannot stand there. */
  readonly wrong: number[];
}

type Line = Readonly<Record<string, unknown>>;

/** An export that was rewritten as a local file would otherwise verify without the signature it has lost. */
function checkUnsigned({ org }: Line, logs: readonly string[], path: string): void {
  if (typeof org !== 'string' || !logs.some((key) => key.split('+')[0]?.endsWith(`/${org}`))) return;
  throw new KontextError('KX_AUDIT_SIGNATURE', `${path} bears no signature`, {
    why: 'it calls itself the file of a session without a backend, and is of an organisation whose log is signed',
  });
}

interface OpenStream {
  readonly facts: Line;
  readonly verifier: ReturnType<typeof createStreamVerifier>;
  readonly intents: Set<number>;
  last: StreamHead;
  end: StreamHead | null;
}

function checkFirst(line: Line | null, path: string): void {
  if (line?.kontext !== 'audit-bundle') throw noBundle(path, 'its first line is not that of an audit bundle');
  if (line.v !== 1) throw noBundle(path, `it has version ${shown(line.v)}, and this program reads version 1`);
}

/**
 * A line of an unknown kind is left out.
 *
 * @returns False for a line that cannot stand there: a stream that is there already, what belongs to none of the file's.
 */
function takeLine(streams: Map<string, OpenStream>, line: Line): boolean {
  if (isObject(line.stream)) {
    if (streams.has(textOf(line.stream.id))) return false;
    openStream(streams, line.stream);
  }
  const only = [...streams.values()].at(-1);
  if (isObject(line.intent) && only !== undefined) only.intents.add(numberOf(line.intent.seq));
  if (isObject(line.event)) {
    const stream = streams.get(textOf(line.event.stream));
    if (stream === undefined) return false;
    addEvent(stream, line.event);
  }
  if (isObject(line.end)) {
    const stream = streams.get(textOf(line.end.stream));
    const seq = numberOf(line.end.seq);
    if (stream === undefined || !Number.isSafeInteger(seq)) return false;
    stream.end = { seq, hash: bytes(line.end.hash) };
  }
  return true;
}

function openStream(streams: Map<string, OpenStream>, facts: Line): void {
  const [orgId, streamId, nonce] = [textOf(facts.org), textOf(facts.id), bytes(facts.nonce)];
  const head: StreamHead = { seq: 0, hash: firstLink(orgId, streamId, nonce) };
  const sessionId = typeof facts.session === 'string' ? facts.session : null;
  const verifier = createStreamVerifier({ orgId, streamId, nonce, head, sessionId });
  streams.set(streamId, { facts, verifier, intents: new Set(), last: head, end: null });
}

function addEvent(stream: OpenStream, event: Line): void {
  const row = toRow(event);
  stream.verifier.add(row);
  stream.intents.delete(row.seq);
  if (row.seq > stream.last.seq) stream.last = { seq: row.seq, hash: row.chain };
}

/** The columns a store would keep follow from the header here; a header that cannot be read is the verifier's finding. */
function toRow(event: Line): StoredRow {
  const header = textOf(event.header);
  return {
    seq: numberOf(event.seq),
    header,
    chain: bytes(event.chain),
    payload: typeof event.payload === 'string' ? event.payload : null,
    salt: typeof event.salt === 'string' ? bytes(event.salt) : null,
    ...columnsOf(header),
  };
}

const noColumns = { eventId: null, kind: null, sessionId: null, userId: null, tool: null, decision: null };

function columnsOf(header: string) {
  try {
    return deriveColumns(parseHeader(header));
  } catch {
    return noColumns;
  }
}

function report(streamId: string, stream: OpenStream, { torn, wrong }: EndOfFile): StreamReport {
  const { verifier, end, last, intents } = stream;
  const found = verifier.finish(end ?? last);
  const late: Finding[] = [
    ...wrong.slice(0, maxFindings).map((line) => badLine(line, last.seq)),
    ...(end !== null && !torn ? [] : [cutOff(last.seq, intents.size)]),
  ];
  const findings = [...found.findings, ...late];
  const [worst] = late;
  return {
    ...{ streamId, kind: kinds.find((kind) => kind === stream.facts.kind) ?? 'unknown' },
    sessionId: typeof stream.facts.session === 'string' ? stream.facts.session : '',
    ...{ ok: found.ok && late.length === 0, events: found.events },
    ...{ withheld: found.withheld.length, missing: found.missing.length },
    ...{ findings, findingCount: found.findingCount + late.length },
    exitCode: found.ok && worst !== undefined ? errorTable[worst.code].exitCode : found.exitCode,
  };
}

const kinds = ['client', 'server', 'admin'] as const;
const maxFindings = 100;

const badLine = (line: number, lastSeq: number): Finding => ({
  code: 'KX_AUDIT_ALTERED',
  seq: lastSeq,
  sentence: `line ${line} of the file cannot be read, or does not belong there`,
});

const cutOff = (lastSeq: number, open: number): Finding => ({
  code: 'KX_AUDIT_TRUNCATED',
  seq: lastSeq + 1,
  sentence:
    'the file does not end in order: its session was killed or still runs, or the end was cut off' +
    (open === 0 ? '' : `; ${open} calls were answered whose record is not there`),
});

const isObject = (value: unknown): value is Line =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

// Not by `String` and `Number`, which an object with a `toString` of its own makes throw.
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
const numberOf = (value: unknown): number => (typeof value === 'number' ? value : 0);
const shown = (value: unknown): string => (JSON.stringify(value) ?? 'none').slice(0, 40);

const bytes = (text: unknown): Uint8Array => Buffer.from(typeof text === 'string' ? text : '', 'base64');

function parseLine(text: string): Line | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

/** A header and a payload, both escaped as JSON at their worst, fit four times. */
const maxLineBytes = 16 << 20;

/** The lines of a file; `whole` is false for a last one without line break. @throws KontextError `KX_BUNDLE_INVALID`. */
async function* readLines(
  path: string,
  shown: string,
): AsyncGenerator<{ readonly text: string; readonly whole: boolean }> {
  // Pieces of a line that has not ended yet.
  let begun: Buffer[] = [];
  try {
    for await (const chunk of createReadStream(path)) {
      let rest = chunk as Buffer;
      for (let at = rest.indexOf(10); at !== -1; at = rest.indexOf(10)) {
        yield { text: Buffer.concat([...begun, rest.subarray(0, at)]).toString('utf8'), whole: true };
        begun = [];
        rest = rest.subarray(at + 1);
      }
      if (rest.length > 0) begun.push(rest);
      const length = begun.reduce((sum, piece) => sum + piece.length, 0);
      if (length > maxLineBytes) throw noBundle(shown, 'a line is longer than 16 MiB');
    }
  } catch (cause) {
    if (cause instanceof KontextError) throw cause;
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'an unknown error';
    throw noBundle(shown, code === 'ENOENT' ? 'there is no such file' : `the system answered ${code}`, cause);
  }
  if (begun.length > 0) yield { text: Buffer.concat(begun).toString('utf8'), whole: false };
}

const noBundle = (path: string, why: string, cause?: unknown): KontextError =>
  new KontextError('KX_BUNDLE_INVALID', `${path} cannot be verified`, { why, ...(cause ? { cause } : {}) });
