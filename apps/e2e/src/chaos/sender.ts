import { setTimeout as sleep } from 'node:timers/promises';
import { type ChainedEvent, createStreamWriter, type StreamWriter } from '@kontext/audit';
import { type PreparedRequest, sendForJson } from '../bench/load.ts';
import { createWireClient } from '../bench/wire-client.ts';
import type { World } from '../world.ts';
import type { Ledger, ReadEvent } from './ledger.ts';

/** What the backend made of a batch; `failed` when there was no answer, or an error. */
export type Answer = 'ok' | 'dup' | 'gap' | 'fork' | 'failed';

/** A session that writes its stream as the hook server does, and sends what it is told to. */
export interface ChaosStream {
  readonly streamId: string;
  readonly writer: StreamWriter;
  /** Writes the next events. */
  write(count: number): ChainedEvent[];
  /** Sends a batch once, notes in the ledger what was acknowledged. */
  send(events: readonly ChainedEvent[]): Promise<Answer>;
  /** Sends a batch until it is acknowledged. @throws Error after so many milliseconds. */
  deliver(events: readonly ChainedEvent[], withinMs?: number): Promise<void>;
}

/** A login of its own on the wire. */
export interface Sender {
  open(): Promise<ChaosStream>;
  /** The error or the answer of the last request. */
  readonly lastError: string;
  /** Sends a batch to any stream, as it is. */
  send(streamId: string, events: readonly ChainedEvent[]): Promise<Answer>;
  /** Everything this login may read, stream by stream. */
  readAll(): Promise<ReadEvent[]>;
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
const answerTimeoutMs = 20_000;

/** Logs in by the device flow. */
export async function createSender(world: World, ledger: Ledger): Promise<Sender> {
  const wire = await createWireClient(world);
  let lastError = '';
  const ask = async <T>(rpc: string, message: object): Promise<T> => {
    const request: PreparedRequest = wire.call(rpc, message);
    const late = sleep(answerTimeoutMs, undefined, { ref: false }).then(() => {
      throw new Error('no answer');
    });
    return Promise.race([sendForJson<T>(request), late]);
  };
  const caller = await ask<{ orgId: string; userId: string }>('OrganisationService/GetCaller', {});

  const send: Sender['send'] = async (streamId, events) => {
    const batch = {
      ...{ streamId, prev: base64(events[0]?.prev ?? Buffer.alloc(32)) },
      events: events.map(({ seq, header, payload, salt, chain }) => ({
        ...{ seq: String(seq), header, chain: base64(chain) },
        ...(payload === null ? {} : { payload, salt: base64(salt ?? Buffer.alloc(0)) }),
      })),
    };
    try {
      const { status = '' } = await ask<{ status?: string }>('AuditService/AppendEvents', batch);
      const answer = status.replace('APPEND_STATUS_', '').toLowerCase() as Answer;
      if (answer === 'ok' || answer === 'dup') {
        ledger.acknowledge(events.map(({ seq, chain }) => ({ stream: streamId, seq, chain: base64(chain) })));
      }
      return answer;
    } catch (error) {
      lastError = error instanceof Error ? error.message : String(error);
      return 'failed';
    }
  };

  const open = async (): Promise<ChaosStream> => {
    const opened = await ask<Record<string, string> & { session: { id: string } }>(
      'SessionService/OpenSession',
      { agent: 'claude', agentVersion: '2', hostname: 'chaos', cliVersion: '1' },
    );
    const streamId = opened.clientStreamId ?? '';
    const from = { nonce: Buffer.from(opened.clientStreamNonce ?? '', 'base64') };
    const writer = createStreamWriter({ orgId: caller.orgId, streamId, from });
    const fields = { kind: 'tool_call.decided', session: opened.session.id, user: caller.userId } as const;
    const stream: ChaosStream = {
      streamId,
      writer,
      write: (count) =>
        Array.from({ length: count }, (_, n) =>
          writer.append({ ...fields, agent: 'claude', tool: 'Bash' }, JSON.stringify({ schema: 1, n })),
        ),
      send: (events) => send(streamId, events),
      async deliver(events, withinMs = 60_000) {
        const until = performance.now() + withinMs;
        for (;;) {
          const answer = await send(streamId, events);
          if (answer === 'ok' || answer === 'dup') return;
          if (performance.now() > until) throw new Error(`not acknowledged: ${answer} ${lastError}`);
          await sleep(50);
        }
      },
    };
    return stream;
  };

  return {
    open,
    send,
    get lastError() {
      return lastError;
    },
    async readAll() {
      await wire.keepAlive();
      const found: ReadEvent[] = [];
      for (let pageToken = '', more = true; more; more = pageToken !== '') {
        const page = await ask<StreamsPage>('AuditService/ListStreams', { pageSize: 100, pageToken });
        for (const { id } of page.streams ?? []) found.push(...(await readStream(ask, id)));
        pageToken = page.nextPageToken ?? '';
      }
      return found;
    },
  };
}

interface StreamsPage {
  readonly streams?: readonly { readonly id: string }[];
  readonly nextPageToken?: string;
}

interface EventsPage {
  readonly events?: readonly { event: { seq: string; header: string; chain: string } }[];
}

async function readStream(
  ask: <T>(rpc: string, message: object) => Promise<T>,
  streamId: string,
): Promise<ReadEvent[]> {
  const found: ReadEvent[] = [];
  for (let fromSeq = 1; ; ) {
    const request = { streamId, fromSeq: String(fromSeq), pageSize: 1000 };
    const { events = [] } = await ask<EventsPage>('AuditService/ReadStream', request);
    for (const { event } of events) {
      found.push({ stream: streamId, seq: Number(event.seq), header: event.header, chain: event.chain });
    }
    const last = found.at(-1);
    if (events.length === 0 || last === undefined) return found;
    fromSeq = last.seq + 1;
  }
}
