/** Batches of audit events for benches: chained, with payloads, about 1 KB an event. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type ChainedEvent, createStreamWriter } from '@kontext/audit';
import { AppendEventsRequestSchema, AppendEventsResponseSchema, AppendStatus } from '@kontext/protocol';
import { type PreparedRequest, send, sendForJson } from './load.ts';
import type { WireClient } from './wire-client.ts';

/** One agent's stream: a session and the writer of its events. */
export interface BenchStream {
  /** The next events of the stream. */
  write(count: number): readonly ChainedEvent[];
  /** The request that appends them. */
  append(events: readonly ChainedEvent[]): PreparedRequest;
  /** Says that the session lives. */
  keepAlive(): Promise<void>;
}

interface Opened {
  readonly session: { readonly id: string; readonly orgId: string; readonly userId: string };
  readonly clientStreamId: string;
  readonly clientStreamNonce: string;
}

/** Opens a session of its own. */
export async function openBenchStream(client: WireClient): Promise<BenchStream> {
  const { session, clientStreamId, clientStreamNonce } = await sendForJson<Opened>(
    client.call('SessionService/OpenSession', {
      ...{ agent: 'claude', agentVersion: '1', hostname: 'bench', cliVersion: '1' },
    }),
  );
  const from = { nonce: Buffer.from(clientStreamNonce, 'base64') };
  const writer = createStreamWriter({ orgId: session.orgId, streamId: clientStreamId, from });
  const append = (events: readonly ChainedEvent[]): PreparedRequest => {
    const sent = events.map(({ seq, header, payload, salt, chain }) => ({
      ...{ seq: BigInt(seq), header, chain, salt: salt ?? new Uint8Array() },
      ...(payload === null ? {} : { payload }),
    }));
    const message = create(AppendEventsRequestSchema, {
      ...{ streamId: clientStreamId, prev: events[0]?.prev ?? new Uint8Array(), events: sent },
    });
    return client.call('AuditService/AppendEvents', toBinary(AppendEventsRequestSchema, message));
  };
  return {
    append,
    write: (count) =>
      Array.from({ length: count }, (_, at) =>
        writer.append(
          {
            ...{ kind: 'tool_call.decided', session: session.id, user: session.userId, agent: 'claude' },
            ...{ tool: 'Bash', toolUse: `toolu_${at}`, decision: 'allow', mode: 'enforce', policyVersion: 1 },
            redaction: 'full-v1',
          },
          benchPayload(at),
        ),
      ),
    keepAlive: async () => {
      await sendForJson(client.call('SessionService/HeartbeatSession', { sessionId: session.id }));
    },
  };
}

/** @throws Error when the batch was not stored: what is measured must have been done. */
export async function sendBatch(one: PreparedRequest): Promise<void> {
  const { status } = fromBinary(AppendEventsResponseSchema, await send(one));
  if (status !== AppendStatus.OK) throw new Error(`a batch was answered with status ${status}`);
}

/** With a header of about 600 bytes that is 1 KB. */
const benchPayload = (at: number): string =>
  JSON.stringify({
    call: {
      v: 2,
      tool: 'Bash',
      cwd: '/home/dev/shop',
      parts: [{ kind: 'command', program: 'npm', args: ['test'] }],
    },
    input: {
      command: `npm run build && npm test -- --shard ${at}/50`,
      description: 'Build it and run the tests',
    },
    note: 'what the agent says about it, in a sentence or two, as it stands in the record of each call '.repeat(
      2,
    ),
  });
