import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { KontextError } from '@kontext/errors';
import { DeliveryState, type Sink, type SinkDelivery, SinkState } from '@kontext/protocol';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { withClients } from '../rpc/open-backend.ts';
import { parseDuration } from '../session/parse-duration.ts';
import { refuseInSession } from '../session/refuse-in-session.ts';

interface AddOptions {
  readonly kind?: readonly string[];
  readonly payloads?: boolean;
  readonly since?: string;
  readonly json?: boolean;
}

interface ReplayOptions {
  readonly since?: string;
  readonly dead?: boolean;
}

interface DeliveriesOptions {
  readonly state?: string;
  readonly limit: string;
  readonly json?: boolean;
}

type Work = (context: Context, clients: Clients) => Promise<number>;

/** `kontext sinks add|ls|pause|resume|rm|test|replay|deliveries` */
export function define(command: Command, run: RunCommand): void {
  const read = (work: Work) =>
    run({}, (context) => withClients(context, (clients) => work(context, clients)));
  const change = (work: Work) =>
    run({}, (context) => {
      refuseInSession(context);
      return withClients(context, (clients) => work(context, clients));
    });
  command
    .command('add <name> <url>')
    .description('send audit events to a URL as they happen (owner, admin, security)')
    .option('--kind <kind...>', 'only of these kinds; `tool_call.*` is all that begin so')
    .option('--payloads', 'with payloads')
    .option('--since <time>', 'begin with events since then: RFC 3339, or 30m, 12h, 7d')
    .option('--json', 'as JSON')
    .action((name: string, url: string, options: AddOptions) =>
      change((context, clients) => add(context, clients, { name, url }, options)),
    );
  command
    .command('ls')
    .description('list sinks and how far behind they are')
    .option('--json', 'as JSON')
    .action((options: { readonly json?: boolean }) =>
      read((context, clients) => list(context, clients, options.json ?? false)),
    );
  for (const [verb, state, what] of [
    ['pause', SinkState.PAUSED, 'send nothing for now; nothing is lost'],
    ['resume', SinkState.ACTIVE, 'go on where it stopped, also after it was disabled'],
  ] as const) {
    command
      .command(`${verb} <sink>`)
      .description(what)
      .action((sink: string) => change((context, clients) => setState(context, clients, sink, state)));
  }
  command
    .command('rm <sink>')
    .description('remove a sink and what is known of its deliveries')
    .action((sink: string) => change((context, clients) => remove(context, clients, sink)));
  command
    .command('test <sink>')
    .description('send a message of type `ping`, and say what came back')
    .action((sink: string) => read((context, clients) => test(context, clients, sink)));
  command
    .command('replay <sink>')
    .description('send events again')
    .option('--since <time>', 'those since then: RFC 3339, or 30m, 12h, 7d')
    .option('--dead', 'messages that were given up')
    .action((sink: string, options: ReplayOptions) =>
      change((context, clients) => replay(context, clients, sink, options)),
    );
  command
    .command('deliveries <sink>')
    .description('list what was sent, newest first')
    .option('--state <state>', 'only delivered, failed or dead ones')
    .option('--limit <n>', 'at most so many, 1 to 200', '50')
    .option('--json', 'as JSON')
    .action((sink: string, options: DeliveriesOptions) =>
      read((context, clients) => listDeliveries(context, clients, sink, options)),
    );
}

async function add(
  { terminal, signal }: Context,
  clients: Clients,
  { name, url }: { readonly name: string; readonly url: string },
  { kind = [], payloads = false, since, json = false }: AddOptions,
): Promise<number> {
  const from = since === undefined ? {} : { since: timestampFromMs(parseSince(since)) };
  const request = { name, url, kinds: [...kind], payloads, ...from };
  const { sink, secret } = await clients.sinks.addSink(request, { signal });
  if (sink === undefined) throw new KontextError('KX_INTERNAL', 'the backend made no sink');
  if (json) {
    terminal.json({ ...describe(sink), secret });
    return 0;
  }
  terminal.note(`added ${sink.id}, for ${sink.kinds.join(' ') || 'every event'}`);
  terminal.say('the signing secret follows; it is shown this once');
  terminal.out(secret);
  return 0;
}

async function list({ terminal, signal }: Context, clients: Clients, json: boolean): Promise<number> {
  const { sinks } = await clients.sinks.listSinks({}, { signal });
  if (json) {
    terminal.json(sinks.map(describe));
    return 0;
  }
  if (sinks.length === 0) terminal.note('there are no sinks');
  else {
    const rows = sinks
      .map(describe)
      .map((one) => [
        ...[one.id, one.name, one.url, one.state, describeLag(one.lagSegments, one.lagSeconds)],
        ...[String(one.dead), one.lastDeliveredAt ?? 'never', one.lastError ?? ''],
      ]);
    terminal.table(['SINK', 'NAME', 'URL', 'STATE', 'BEHIND', 'DEAD', 'DELIVERED', 'LAST ERROR'], rows);
  }
  return 0;
}

async function setState(context: Context, clients: Clients, sink: string, state: SinkState): Promise<number> {
  const { terminal, signal } = context;
  const sinkId = await findId(context, clients, sink);
  const { sink: changed } = await clients.sinks.setSink({ sinkId, state }, { signal });
  terminal.note(`${sinkId} is ${stateWords[changed?.state ?? state] ?? 'unknown'}`);
  return 0;
}

async function remove(context: Context, clients: Clients, sink: string): Promise<number> {
  const sinkId = await findId(context, clients, sink);
  await clients.sinks.removeSink({ sinkId }, { signal: context.signal });
  context.terminal.note(`removed ${sinkId}`);
  return 0;
}

async function test(context: Context, clients: Clients, sink: string): Promise<number> {
  const { terminal, signal } = context;
  const sinkId = await findId(context, clients, sink);
  const { status, error } = await clients.sinks.testSink({ sinkId }, { signal });
  if (error === '') terminal.note(`it answered ${status}`);
  else terminal.warn(error);
  return error === '' ? 0 : 1;
}

async function replay(
  context: Context,
  clients: Clients,
  sink: string,
  { since, dead = false }: ReplayOptions,
): Promise<number> {
  const { terminal, signal } = context;
  if (dead === (since !== undefined)) throw usage('replay needs --since or --dead, and not both');
  const from = since === undefined ? {} : { since: timestampFromMs(parseSince(since)) };
  const sinkId = await findId(context, clients, sink);
  const { segments } = await clients.sinks.replaySink({ sinkId, deadLetters: dead, ...from }, { signal });
  terminal.note(segments === 0n ? 'there is nothing to send again' : `${segments} segments are sent again`);
  return 0;
}

async function listDeliveries(
  context: Context,
  clients: Clients,
  sink: string,
  { state, limit, json = false }: DeliveriesOptions,
): Promise<number> {
  const { terminal, signal } = context;
  const pageSize = Number(limit);
  if (!/^[1-9]\d{0,2}$/.test(limit) || pageSize > 200) throw usage('--limit is not 1 to 200');
  const wanted = state === undefined ? DeliveryState.UNSPECIFIED : parseState(state);
  const sinkId = await findId(context, clients, sink);
  const request = { sinkId, state: wanted, pageSize };
  const { deliveries } = await clients.sinks.listSinkDeliveries(request, { signal });
  if (json) {
    terminal.json(deliveries.map(describeDelivery));
    return 0;
  }
  if (deliveries.length === 0) terminal.note('nothing was sent');
  else {
    const rows = deliveries
      .map(describeDelivery)
      .map((one) => [
        ...[one.id, one.at ?? '', one.state, `${one.firstLeaf}–${one.lastLeaf}`, String(one.events)],
        ...[String(one.attempts), one.error ?? String(one.status ?? '')],
      ]);
    terminal.table(['MESSAGE', 'AT', 'STATE', 'SEGMENTS', 'EVENTS', 'ATTEMPTS', 'ANSWER'], rows);
  }
  return 0;
}

/** The id of a sink that was given by id or by name. @throws KontextError `KX_NOT_FOUND`. */
async function findId({ signal }: Context, clients: Clients, sink: string): Promise<string> {
  if (sink.startsWith('snk_')) return sink;
  const { sinks } = await clients.sinks.listSinks({}, { signal });
  const found = sinks.find(({ name }) => name === sink);
  if (found === undefined)
    throw new KontextError('KX_NOT_FOUND', 'there is no such sink', {
      hint: 'list them with `kontext sinks ls`',
    });
  return found.id;
}

/** An instant in Unix milliseconds. @throws KontextError `KX_USAGE` when it is neither an instant nor a duration. */
function parseSince(text: string): number {
  const isInstant = /^\d{4}-\d{2}-\d{2}/.test(text);
  if (!isInstant) return Date.now() - parseDuration(text, '--since') * 1000;
  const at = Date.parse(text);
  if (Number.isNaN(at)) throw usage('--since is no instant of RFC 3339');
  return at;
}

const states: Readonly<Record<string, DeliveryState>> = {
  delivered: DeliveryState.DELIVERED,
  failed: DeliveryState.FAILED,
  dead: DeliveryState.DEAD,
};

function parseState(text: string): DeliveryState {
  const state = Object.hasOwn(states, text) ? states[text] : undefined;
  if (state === undefined) throw usage('--state is none of delivered, failed, dead');
  return state;
}

const usage = (why: string): KontextError =>
  new KontextError('KX_USAGE', 'the command cannot be used like that', { why });

const stateWords: Readonly<Partial<Record<SinkState, string>>> = {
  [SinkState.ACTIVE]: 'active',
  [SinkState.PAUSED]: 'paused',
  [SinkState.DISABLED]: 'disabled',
};

const describe = (sink: Sink) => ({
  ...{ id: sink.id, name: sink.name, url: sink.url, kinds: sink.kinds, payloads: sink.payloads },
  state: stateWords[sink.state] ?? 'unknown',
  ...{ lagSegments: Number(sink.lagSegments), lagSeconds: Number(sink.lagSeconds), dead: Number(sink.dead) },
  ...{ lastError: sink.lastError || null, createdAt: instant(sink.createdAt), createdBy: sink.createdBy },
  lastDeliveredAt: instant(sink.lastDeliveredAt),
});

const describeDelivery = (one: SinkDelivery) => ({
  ...{ id: one.id, at: instant(one.at), events: one.events, attempts: one.attempts },
  state: Object.entries(states).find(([, state]) => state === one.state)?.[0] ?? 'unknown',
  ...{ firstLeaf: Number(one.firstLeaf), lastLeaf: Number(one.lastLeaf) },
  ...{ status: one.status || null, error: one.error || null },
});

const describeLag = (segments: number, seconds: number): string =>
  segments === 0 ? 'no' : `${segments} segments, ${seconds} s`;

const instant = (at: Sink['createdAt']): string | null =>
  at === undefined ? null : new Date(Number(at.seconds) * 1000).toISOString();
