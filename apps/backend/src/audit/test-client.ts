import { type ChainedEvent, createStreamWriter, type EventFields, type StreamHead } from '@kontext/audit';
import type { Caller } from '../caller.ts';
import { type OpenedSession, openSession } from '../sessions/open-session.ts';
import type { Store } from '../store/store.ts';
import type { Batch } from './append-batch.ts';

/** A session as its client sees it: it writes events and makes batches of them. */
export interface TestClient {
  readonly opened: OpenedSession;
  readonly sessionId: string;
  /** Writes the next event, with a payload unless told otherwise. */
  write(fields?: Partial<EventFields>, payload?: string | null): ChainedEvent;
  /** A batch of events that follow each other. */
  batch(events: readonly ChainedEvent[]): Batch;
  /** A second writer that goes on from an earlier head: what a forger would do. */
  forkFrom(head: StreamHead): TestClient;
}

/** Opens a session and gives its client. */
export async function openTestSession(store: Store, caller: Caller, now: Date): Promise<TestClient> {
  const input = {
    ...{ agent: 'claude', agentVersion: '2.0', hostname: 'laptop', cliVersion: '0.1.0' },
    ...{ mode: null, hookConfigHash: 'a'.repeat(64) },
  };
  const opened = await openSession(store, caller, input, { version: 1, mode: 'observe' }, now);
  return clientOf(opened, caller, now, { nonce: opened.clientStreamNonce });
}

function clientOf(
  opened: OpenedSession,
  caller: Caller,
  now: Date,
  from: Parameters<typeof createStreamWriter>[0]['from'],
): TestClient {
  const streamId = opened.clientStreamId;
  const writer = createStreamWriter({ orgId: caller.orgId, streamId, from, nowMs: () => now.getTime() });
  const sessionId = opened.session.id;
  return {
    opened,
    sessionId,
    write: (fields = {}, payload = '{"command":"ls"}') =>
      writer.append(
        {
          ...{ kind: 'tool_call.decided', session: sessionId, user: caller.userId, agent: 'claude' },
          ...{ tool: 'Bash', toolUse: 'toolu_1', decision: 'allow', mode: 'observe', policyVersion: 1 },
          ...fields,
        },
        payload,
      ),
    batch: (events) => ({ streamId, prev: events[0]?.prev ?? Buffer.alloc(32), events }),
    forkFrom: (head) => clientOf(opened, caller, now, { head }),
  };
}
