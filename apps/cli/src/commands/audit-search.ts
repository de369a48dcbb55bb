import { KontextError } from '@kontext/errors';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { withClients } from '../rpc/open-backend.ts';
import { describeEvent, eventCells } from '../session/describe-event.ts';
import { joinQuery } from '../session/join-query.ts';
import { parseDuration } from '../session/parse-duration.ts';

interface SearchOptions {
  readonly limit: string;
  readonly all?: boolean;
  readonly json?: boolean;
  readonly payloads?: boolean;
}

interface FacetOptions {
  readonly field: readonly string[];
  readonly limit: string;
  readonly json?: boolean;
}

interface HistogramOptions {
  readonly bucket: string;
  readonly json?: boolean;
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];
const queryHelp = 'such as: actor:alice tool:Bash decision:deny since:24h "rm -rf" (docs/audit-search.md)';

/** `kontext audit search|facets|histogram` */
export function defineAuditSearch(command: Command, run: RunCommand): void {
  command
    .command('search [query...]')
    .description(`find events, newest first, ${queryHelp}`)
    // A term can begin with -.
    .allowUnknownOption()
    .option('--limit <n>', 'show at most so many', '50')
    .option('--all', 'show all there are')
    .option('--payloads', 'with --json: payloads too')
    .option('--json', 'JSON Lines')
    .action((words: readonly string[], options: SearchOptions) =>
      run({}, (context) =>
        withClients(context, (clients) => search(context, clients, joinQuery(words), options)),
      ),
    );
  command
    .command('facets [query...]')
    .description('count what occurs how often: kinds, tools, decisions, modes, users, agents')
    .allowUnknownOption()
    .option('--field <name>', 'only this one; can be given several times', collect, [])
    .option('--limit <n>', 'values of each, at most 100', '10')
    .option('--json', 'as JSON')
    .action((words: readonly string[], options: FacetOptions) =>
      run({}, (context) =>
        withClients(context, (clients) => facets(context, clients, joinQuery(words), options)),
      ),
    );
  command
    .command('histogram [query...]')
    .description('count events over time')
    .allowUnknownOption()
    .option('--bucket <time>', 'how long each span is, in whole hours', '1h')
    .option('--json', 'as JSON')
    .action((words: readonly string[], options: HistogramOptions) =>
      run({}, (context) =>
        withClients(context, (clients) => histogram(context, clients, joinQuery(words), options)),
      ),
    );
}

const pageSize = 200;
/** So many pages without any event in a row are enough, unless all is asked for. */
const maxEmptyPages = 20;

async function search(
  { terminal, signal }: Context,
  clients: Clients,
  query: string,
  { limit: limitText, all = false, json = false, payloads = false }: SearchOptions,
): Promise<number> {
  const limit = all ? Number.POSITIVE_INFINITY : parseCount(limitText, '--limit', 1_000_000);
  let rows: string[][] = [];
  let shown = 0;
  let emptyPages = 0;
  let pageToken = '';
  let searchedUntil: Instant;
  const show = () => {
    if (rows.length > 0) terminal.table(head, rows);
    rows = [];
  };
  do {
    const request = {
      query,
      pageToken,
      pageSize: Math.min(pageSize, limit - shown),
      payloads: payloads || !json,
    };
    const page = await clients.audit.searchEvents(request, { signal });
    if (json) for (const event of page.events) terminal.json(describeEvent(event));
    else rows.push(...page.events.map((event) => eventCells(describeEvent(event))));
    if (all) show();
    shown += page.events.length;
    emptyPages = page.events.length === 0 ? emptyPages + 1 : 0;
    ({ nextPageToken: pageToken, searchedUntil } = page);
  } while (pageToken !== '' && shown < limit && (all || emptyPages < maxEmptyPages));
  show();
  if (pageToken === '' && shown === 0) terminal.note('no event matches');
  else if (pageToken !== '' && shown >= limit)
    terminal.note(`the newest ${shown}: pass --limit or --all for more`);
  else if (pageToken !== '') {
    terminal.note(
      `looked back to ${toIso(searchedUntil) ?? 'now'} only: pass --all to look further, or say until:`,
    );
  }
  return 0;
}

const head = ['TIME', 'USER', 'KIND', 'TOOL', 'DECISION', 'ABOUT', 'REPOSITORY', 'SESSION', 'EVENT'];
async function facets(
  { terminal, signal }: Context,
  clients: Clients,
  query: string,
  { field: fields, limit: limitText, json = false }: FacetOptions,
): Promise<number> {
  const limit = parseCount(limitText, '--limit', 100);
  const answer = await clients.audit.getEventFacets({ query, fields: [...fields], limit }, { signal });
  const counted = answer.facets.map(({ field, values, clipped }) => ({
    ...{ field, clipped },
    values: values.map(({ value, label, count }) => ({ value, label, count: Number(count) })),
  }));
  if (json) {
    terminal.json({ facets: counted, countedUntil: toIso(answer.countedUntil) });
    return 0;
  }
  const rows = counted.flatMap(({ field, values, clipped }) => {
    const most = Math.max(...values.map(({ count }) => count), 1);
    const listed = values.map(({ value, label, count }) => [
      ...[field, label || value, String(count)],
      ...bar(terminal, count, most),
    ]);
    return clipped ? [...listed, [field, '…', '', ...bar(terminal, 0, most)]] : listed;
  });
  if (rows.length > 0) terminal.table(['FIELD', 'VALUE', 'EVENTS', ...bar(terminal, 0, 1)], rows);
  sayCounted(terminal, answer.countedUntil, rows.length === 0);
  return 0;
}

async function histogram(
  { terminal, signal }: Context,
  clients: Clients,
  query: string,
  { bucket, json = false }: HistogramOptions,
): Promise<number> {
  const bucketSeconds = parseDuration(bucket, '--bucket');
  if (bucketSeconds % 3600 !== 0) {
    throw new KontextError('KX_USAGE', '--bucket is no number of whole hours', {
      hint: 'write it as 1h, 6h or 1d',
    });
  }
  const answer = await clients.audit.getEventHistogram({ query, bucketSeconds }, { signal });
  const buckets = answer.buckets.map(({ start, count, denied, asked }) => ({
    start: toIso(start),
    ...{ count: Number(count), denied: Number(denied), asked: Number(asked) },
  }));
  if (json) {
    terminal.json({ bucketSeconds, buckets, countedUntil: toIso(answer.countedUntil) });
    return 0;
  }
  const most = Math.max(...buckets.map(({ count }) => count), 1);
  const rows = buckets.map(({ start, count, denied, asked }) => [
    ...[start ?? '', String(count), String(denied), String(asked)],
    ...bar(terminal, count, most),
  ]);
  if (rows.length > 0) terminal.table(['FROM', 'EVENTS', 'DENIED', 'ASKED', ...bar(terminal, 0, 1)], rows);
  sayCounted(terminal, answer.countedUntil, rows.length === 0);
  return 0;
}

const barWidth = 40;

/** A cell more on a terminal; elsewhere the numbers say it. */
const bar = ({ stdoutIsTerminal }: Context['terminal'], count: number, most: number): string[] =>
  stdoutIsTerminal ? ['█'.repeat(Math.ceil((count / most) * barWidth))] : [];

type Instant = { readonly seconds: bigint; readonly nanos: number } | undefined;

const toIso = (at: Instant): string | null =>
  at ? new Date(Number(at.seconds) * 1000 + at.nanos / 1e6).toISOString() : null;

function sayCounted(terminal: Context['terminal'], until: Instant, isEmpty: boolean): void {
  if (isEmpty) terminal.note('no event matches');
  terminal.note(`counted until ${toIso(until) ?? 'now'}, by whole hours`);
}

function parseCount(text: string, flag: string, most: number): number {
  const count = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= most) return count;
  throw new KontextError('KX_USAGE', `${flag} cannot be used`, {
    why: `it is not a number from 1 to ${most}`,
  });
}
