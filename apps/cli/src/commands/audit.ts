import { KontextError } from '@kontext/errors';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { followEvents } from '../rpc/follow-events.ts';
import { withClients } from '../rpc/open-backend.ts';
import { describeEvent, eventLine } from '../session/describe-event.ts';
import { type StreamReport, verifyStreams } from '../session/verify-streams.ts';

interface TailOptions {
  readonly session?: string;
  readonly since?: string;
  readonly json?: boolean;
}

/** `kontext audit tail|verify` */
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
    .option('--json', 'as JSON')
    .action((what: string | undefined, options: { json?: boolean }) =>
      run({}, (context) => verify(context, what ?? '', options.json ?? false)),
    );
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

/** @param what A session (`ses_…`), a file, or empty for everything the caller may see. */
async function verify(context: Context, what: string, json: boolean): Promise<number> {
  const { terminal, config, signal } = context;
  const isFile = what !== '' && !what.startsWith('ses_');
  const reports = isFile
    ? await (await import('../session/verify-bundle.ts')).verifyBundle(what, config.cwd)
    : await withClients(context, (clients) => verifyStreams(clients, what, signal));
  if (reports.length === 0) throw new KontextError('KX_NOT_FOUND', 'there is no audit stream to verify');
  const bad = reports.filter(({ ok }) => !ok);
  if (json) terminal.json({ ok: bad.length === 0, streams: reports });
  else for (const line of reports.flatMap(reportLines)) terminal.out(line);
  const events = reports.reduce((sum, report) => sum + report.events, 0);
  if (bad.length === 0)
    terminal.note(`${events} events in ${reports.length} streams verified: nothing is missing or changed`);
  else terminal.warn(`${bad.length} of ${reports.length} streams do not verify`);
  return bad[0]?.exitCode ?? 0;
}

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
