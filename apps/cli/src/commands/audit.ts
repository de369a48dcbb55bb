import { KontextError } from '@kontext/errors';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { followEvents } from '../rpc/follow-events.ts';
import { openBackend, withClients } from '../rpc/open-backend.ts';
import { describeEvent, eventLine } from '../session/describe-event.ts';
import { type StreamReport, verifyStreams } from '../session/verify-streams.ts';
import { chooseTarget } from '../session/verify-target.ts';
import { readPinnedLogs } from '../witness/pinned-logs.ts';
import { sayPinned, sayTrouble, showCheckpoint, showProof, witnessOf } from '../witness/show-log.ts';
import { type LogReport, type StreamEnd, verifyEnds } from '../witness/verify-ends.ts';
import { defineAuditExport } from './audit-export.ts';
import { defineAuditLineage } from './audit-lineage.ts';
import { defineAuditSearch } from './audit-search.ts';
import { defineAuditSettings } from './audit-settings.ts';

interface VerifyOptions {
  readonly key: readonly string[];
  readonly json?: boolean;
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

interface TailOptions {
  readonly session?: string;
  readonly since?: string;
  readonly json?: boolean;
}

/** `kontext audit tail|verify|checkpoint|proof`, and what the files beside it define. */
export function define(command: Command, run: RunCommand): void {
  command
    .command('tail')
    .description('follow events as they are stored')
    .option('--session <id>', 'of one session only')
    .option('--since <seconds>', 'begin with the events of the last so many seconds, at most 86400', '3600')
    .option('--json', 'JSON Lines')
    .action((options: TailOptions) =>
      run({}, (context) => withClients(context, (clients) => tail(context, clients, options))),
    );
  command
    .command('verify [session]')
    .description(
      'read the raw rows of a session, or of everything you may see, and check every hash; or those of a file, offline',
    )
    .option('--key <key>', 'verifier key of the log, or a file that holds it; for a file', collect, [])
    .option('--json', 'as JSON')
    .action((what: string | undefined, options: VerifyOptions) =>
      run({}, (context) => verify(context, what ?? '', options)),
    );
  command
    .command('checkpoint')
    .description(
      "show the newest checkpoint of the organisation's log, verified against what was seen before",
    )
    .option('--json', 'as JSON')
    .option('--forget', 'forget what was seen before, once trouble is explained')
    .action(({ json = false, forget = false }: { json?: boolean; forget?: boolean }) =>
      run({}, (context) => showCheckpoint(context, { json, forget })),
    );
  command
    .command('proof <event>')
    .description("prove that the organisation's log holds an event: evt_…, or str_…:<seq>")
    .option('--json', 'as JSON')
    .action((event: string, { json = false }: { json?: boolean }) =>
      run({}, (context) => showProof(context, event, json)),
    );
  defineAuditSearch(command, run);
  defineAuditSettings(command, run);
  defineAuditExport(command, run);
  defineAuditLineage(command, run);
}

async function tail({ terminal, signal }: Context, clients: Clients, options: TailOptions): Promise<number> {
  const sinceSeconds = parseSince(options.since ?? '0');
  const events = followEvents(clients, { sessionId: options.session ?? '', sinceSeconds, signal }, (error) =>
    terminal.warn(`the live view was cut (${error.message}); trying again`),
  );
  for await (const stored of events) {
    if (options.json) terminal.json(describeEvent(stored));
    else terminal.out(eventLine(describeEvent(stored)));
  }
  return 0;
}

function parseSince(text: string): number {
  const seconds = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (seconds <= 86_400) return seconds;
  throw new KontextError('KX_USAGE', '--since cannot be used', {
    why: 'it is not a number of seconds up to 86400',
  });
}

/** @param what A session (`ses_…`), a file, or empty for everything the caller may see; see {@link chooseTarget}. */
async function verify(
  context: Context,
  what: string,
  { key: keys, json = false }: VerifyOptions,
): Promise<number> {
  const { terminal } = context;
  const isFile = chooseTarget(what, context.config.cwd) === 'file';
  if (!isFile && keys.length > 0)
    throw new KontextError('KX_USAGE', '--key cannot be used', { why: 'it is for verifying a file' });
  if (isFile) {
    const { verifyFile } = await import('../session/verify-export.ts');
    const exitCode = await verifyFile(context, what, { keys, json });
    if (exitCode !== null) return exitCode;
  }
  const found: Found = isFile
    ? { reports: await verifyUnsigned(context, what), log: null }
    : await verifyOnline(context, what);
  const { reports, log } = found;
  if (reports.length === 0) throw new KontextError('KX_NOT_FOUND', 'there is no audit stream to verify');
  const bad = reports.filter(({ ok }) => !ok);
  const troubleCode = log instanceof KontextError ? log.spec.exitCode : 0;
  if (json) {
    const ok = bad.length === 0 && troubleCode === 0;
    terminal.json({ ok, streams: reports, ...(isFile ? {} : { log: describeLog(log) }) });
  } else for (const line of reports.flatMap(reportLines)) terminal.out(line);
  const events = reports.reduce((sum, report) => sum + report.events, 0);
  if (bad.length === 0)
    terminal.note(`${events} events in ${reports.length} streams verified: nothing is missing or changed`);
  else terminal.warn(`${bad.length} of ${reports.length} streams do not verify`);
  if (isFile && bad.length === 0)
    terminal.note('not proven: that the file was not written anew as a whole; nobody has signed it');
  if (log instanceof KontextError) terminal.error(log);
  else if (log !== null && bad.length === 0) terminal.note(logLine(log));
  return bad[0]?.exitCode ?? (troubleCode === 0 ? (found.remembered ?? 0) : troubleCode);
}

/** The file of a session without a backend. */
async function verifyUnsigned(context: Context, path: string): Promise<readonly StreamReport[]> {
  const { verifyBundle } = await import('../session/verify-bundle.ts');
  const logs = await readPinnedLogs(context);
  return verifyBundle(
    path,
    context.config.cwd,
    logs.map(({ key }) => key),
  );
}

interface Found {
  readonly reports: readonly StreamReport[];
  /** What the log says, or what is wrong with it; null when it was not asked. */
  readonly log: LogReport | KontextError | null;
  /** Exit code of trouble that was seen earlier; null when there was none. */
  readonly remembered?: number | null;
}

/** The streams themselves, and that the organisation's log holds the end of each. */
async function verifyOnline(context: Context, sessionId: string): Promise<Found> {
  const { signal } = context;
  const backend = await openBackend(context);
  try {
    const ends = new Map<string, StreamEnd>();
    const clients = await backend.connect();
    const reports = await verifyStreams(clients, sessionId, signal, (id, end) => ends.set(id, end));
    const parts = { calls: backend.calls, witness: witnessOf(context, backend), signal };
    const log = await verifyEnds(parts, reports, ends).catch((error: unknown) => {
      if (error instanceof KontextError && error.code.startsWith('KX_AUDIT_')) return error;
      throw error;
    });
    if (log instanceof KontextError) return { reports, log };
    if (log.contact?.pinnedNow) sayPinned(context, log.contact);
    return { reports: log.streams, log, remembered: sayTrouble(context, backend) };
  } finally {
    backend.close();
  }
}

function describeLog(log: Found['log']) {
  if (log instanceof KontextError) return { ok: false, code: log.code, message: log.message, why: log.why };
  const checkpoint = log?.contact?.checkpoint;
  if (!checkpoint) return null;
  const { origin, size, root } = checkpoint;
  return { ok: true, origin, size, root: Buffer.from(root).toString('base64') };
}

const logLine = ({ contact }: LogReport): string =>
  contact?.checkpoint
    ? `the log of ${contact.checkpoint.size} segments that ${contact.checkpoint.origin} has signed holds the end of each stream and goes on from what this machine saw before`
    : 'the backend keeps no signed log of the organisation yet, so nothing vouches for the ends of the streams';

function reportLines(report: StreamReport): string[] {
  const { kind, streamId, events, ok, findings, withheld, missing } = report;
  const notes = [
    ...(withheld > 0 ? [`${withheld} payloads withheld or erased`] : []),
    ...(missing > 0 ? [`${missing} written without payload`] : []),
  ];
  const tailText = notes.length > 0 ? ` (${notes.join(', ')})` : '';
  return [
    `${ok ? 'ok ' : 'BAD'}  ${kind.padEnd(6)}  ${streamId}  ${events} events${tailText}`,
    ...findings.map(({ code, seq, sentence }) => `     seq ${seq}: ${sentence} (${code})`),
  ];
}
