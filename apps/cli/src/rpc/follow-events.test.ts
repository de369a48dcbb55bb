import { Code, ConnectError, createRouterTransport } from '@connectrpc/connect';
import { AuditService, OrganisationService } from '@kontext/protocol';
import { describe, expect, it } from 'vitest';
import { createClients } from './clients.ts';
import { followEvents } from './follow-events.ts';
import { wireError } from './test-backend.ts';

const event = (streamId: string, seq: bigint, second: bigint) => ({
  streamId,
  event: { seq },
  receivedAt: { seconds: second, nanos: 0 },
});

type Batch = { readonly events: readonly ReturnType<typeof event>[]; readonly cursor?: string };

/** Follows a backend whose watches are scripted one after the other; ends after the last. */
async function follow(watches: (() => AsyncGenerator<Batch>)[]) {
  const controller = new AbortController();
  const cuts: string[] = [];
  const asked: [number, string][] = [];
  const transport = createRouterTransport(({ rpc }) => {
    rpc(OrganisationService.method.getCaller, () => ({}));
    rpc(AuditService.method.watchEvents, async function* (request) {
      asked.push([request.sinceSeconds, request.cursor]);
      const next = watches.shift();
      if (next) yield* next() as AsyncGenerator<never>;
      else controller.abort();
    });
  });
  const request = { sessionId: '', sinceSeconds: 60, signal: controller.signal, retryMs: 1 };
  const seen: string[] = [];
  for await (const stored of followEvents(createClients(transport), request, ({ message }) =>
    cuts.push(message),
  )) {
    seen.push(`${stored.streamId}${stored.event?.seq}`);
  }
  return { seen, cuts, asked };
}

describe('following events', () => {
  it('shows a batch of several streams in the order of arrival', async () => {
    const { seen } = await follow([
      async function* () {
        yield { events: [event('b', 1n, 3n), event('b', 2n, 5n), event('a', 1n, 1n), event('a', 2n, 4n)] };
      },
    ]);
    expect(seen).toEqual(['a1', 'b1', 'a2', 'b2']);
  });

  it('goes on after a cut behind the last answer it saw, and says so once', async () => {
    const { seen, cuts, asked } = await follow([
      async function* () {
        yield { events: [event('a', 1n, 1n)], cursor: 'behind a1' };
        yield { events: [], cursor: 'later' };
        throw new ConnectError('gone', Code.Unavailable);
      },
      async function* () {
        yield { events: [event('a', 2n, 2n)], cursor: 'behind a2' };
      },
    ]);
    expect(seen).toEqual(['a1', 'a2']);
    expect(cuts).toHaveLength(1);
    expect(asked).toEqual([
      [60, ''],
      [60, 'later'],
      [60, 'behind a2'],
    ]);
  });

  it('ends with what the backend refuses for good', async () => {
    const refused = follow([
      // biome-ignore lint/correctness/useYield: it refuses before the first event
      async function* () {
        throw wireError('KX_NOT_FOUND', 'there is no such session');
      },
    ]);
    await expect(refused).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
  });
});
