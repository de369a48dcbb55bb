import { KontextError } from '@kontext/errors';
import { type Export, ExportFormat, ExportState } from '@kontext/protocol';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { withClients } from '../rpc/open-backend.ts';
import { type FetchedExport, fetchExport, waitForExport } from '../session/fetch-export.ts';
import { joinQuery } from '../session/join-query.ts';

interface ExportOptions {
  readonly format: string;
  readonly output?: string;
  readonly payloads: boolean;
  readonly id?: string;
  readonly json?: boolean;
}

/** `kontext audit export` and `kontext audit exports ls` */
export function defineAuditExport(command: Command, run: RunCommand): void {
  command
    .command('export [query...]')
    .description(
      'make a file of the audit log that can be verified without us, or a table (owner, admin, security, auditor)',
    )
    .option('--format <format>', 'bundle, which proves what it holds, or csv', 'bundle')
    .option('-o, --output <file>', 'where to; default: kontext-audit-<id>.jsonl or .csv here')
    .option('--without-payloads', 'leave payloads out')
    .option('--id <export>', 'fetch an export that was made before, and go on where a download was cut off')
    .option('--json', 'as JSON')
    .action((query: readonly string[], options: ExportOptions & { readonly withoutPayloads?: boolean }) =>
      run({}, (context) =>
        withClients(context, (clients) =>
          exportAudit(context, clients, joinQuery(query), {
            ...options,
            payloads: options.withoutPayloads !== true,
          }),
        ),
      ),
    );
  const exports = command.command('exports').description('exports of the audit log');
  exports
    .command('ls')
    .description('list exports; each is kept for a day')
    .option('--json', 'as JSON')
    .action(({ json = false }: { readonly json?: boolean }) =>
      run({}, (context) => withClients(context, (clients) => listExports(context, clients, json))),
    );
}

const formats: Readonly<Record<string, ExportFormat>> = {
  bundle: ExportFormat.BUNDLE,
  csv: ExportFormat.CSV,
};

async function exportAudit(
  context: Context,
  clients: Clients,
  query: string,
  options: ExportOptions,
): Promise<number> {
  const { terminal } = context;
  const begun = await beginOrFind(context, clients, query, options);
  const ready = await waitForExport(context, clients, begun);
  const fetched = await fetchExport(context, clients, ready, options.output ?? null);
  if (options.json) terminal.json({ ...describeExport(ready), file: fetched.path });
  else terminal.out(fetched.path);
  for (const line of fetchedWords(ready, fetched)) terminal.note(line);
  return 0;
}

async function beginOrFind(
  { signal }: Context,
  clients: Clients,
  query: string,
  options: ExportOptions,
): Promise<Export> {
  const { id, format: asked, payloads } = options;
  const format = formats[asked];
  if (format === undefined)
    throw new KontextError('KX_USAGE', '--format cannot be used', { why: 'it is neither bundle nor csv' });
  if (id !== undefined && query !== '')
    throw new KontextError('KX_USAGE', '--id cannot be used', { why: 'the export has its query already' });
  const { export: found } =
    id === undefined
      ? await clients.audit.beginExport({ format, query, withoutPayloads: !payloads }, { signal })
      : await clients.audit.getExport({ exportId: id }, { signal });
  if (found === undefined) throw new KontextError('KX_INTERNAL', 'the backend named no export');
  return found;
}

function fetchedWords({ events, bytes, format }: Export, { path }: FetchedExport): string[] {
  const size = `${events} events, ${bytes} bytes, SHA-256 checked`;
  return format === ExportFormat.BUNDLE
    ? [size, `next: \`kontext audit verify ${path}\` proves it, on any machine`]
    : [size];
}

async function listExports({ terminal, signal }: Context, clients: Clients, json: boolean): Promise<number> {
  const found: Export[] = [];
  for (let pageToken = ''; ; ) {
    const page = await clients.audit.listExports({ pageToken, pageSize: 100 }, { signal });
    found.push(...page.exports);
    pageToken = page.nextPageToken;
    if (pageToken === '' || found.length >= 1000) break;
  }
  const rows = found.map(describeExport);
  if (json) for (const row of rows) terminal.json(row);
  else
    terminal.table(
      ['id', 'state', 'format', 'events', 'bytes', 'created', 'query'],
      rows.map((row) => [
        ...[row.id, row.error === '' ? row.state : `${row.state}: ${row.error}`, row.format],
        ...[String(row.events), String(row.bytes), row.createdAt, row.query],
      ]),
    );
  return 0;
}

const states: Readonly<Partial<Record<ExportState, string>>> = {
  [ExportState.RUNNING]: 'running',
  [ExportState.READY]: 'ready',
  [ExportState.FAILED]: 'failed',
  [ExportState.EXPIRED]: 'expired',
};

function describeExport(row: Export) {
  const instant = (at: Export['createdAt']): string =>
    at === undefined ? '' : new Date(Number(at.seconds) * 1000 + Math.floor(at.nanos / 1e6)).toISOString();
  return {
    ...{ id: row.id, state: states[row.state] ?? 'unknown', error: row.error },
    ...{ format: row.format === ExportFormat.CSV ? 'csv' : 'bundle', query: row.query },
    ...{ withoutPayloads: row.withoutPayloads, createdBy: row.createdBy },
    ...{ events: Number(row.events), bytes: Number(row.bytes) },
    sha256: Buffer.from(row.sha256).toString('hex'),
    ...{
      createdAt: instant(row.createdAt),
      finishedAt: instant(row.finishedAt),
      expiresAt: instant(row.expiresAt),
    },
  };
}
