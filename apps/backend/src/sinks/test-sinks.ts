import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { appendServerEvents } from '../audit/append-server-event.ts';
import { createAppendSignal } from '../audit/append-signal.ts';
import { createLogKeys } from '../audit/log/log-key.ts';
import { sequenceLogs } from '../audit/log/sequence-log.ts';
import { createRateLimiter } from '../login/rate-limiter.ts';
import {
  createTestOrganisation,
  type TestOrganisation,
  testKms,
} from '../organisations/test-organisation.ts';
import { createSafeFetch } from '../providers/safe-fetch.ts';
import type { Store } from '../store/store.ts';
import type { SenderDeps } from '../webhooks/deps.ts';
import { createSinkService, type SinkService } from './sink-service.ts';

/** A message as a receiver heard it. */
export interface HeardMessage {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A receiver on loopback that keeps what it hears. */
export class Receiver {
  readonly heard: HeardMessage[] = [];
  status = 200;
  headers: Record<string, string> = {};
  /** Keeps answers to itself. */
  hangs = false;
  server: Server | null = null;

  async start(): Promise<string> {
    const server = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      request.on('end', () => {
        this.heard.push({ headers: request.headers, body });
        if (!this.hangs) response.writeHead(this.status, this.headers).end('secret answer');
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.server = server;
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/sink`;
  }

  async stop(): Promise<void> {
    this.server?.closeAllConnections();
    await new Promise((resolve) => this.server?.close(resolve));
  }
}

/** An organisation whose log a test fills, and sinks of it. */
export interface SinkRoom {
  readonly org: TestOrganisation;
  readonly sinks: SinkService;
  readonly nowMs: () => number;
  advance(ms: number): void;
  /** Another replica. */
  replica(change?: Partial<SenderDeps>): SinkService;
  /** Appends events as one segment and puts it into the log. */
  append(count: number, fact?: string): Promise<void>;
  sequence(): Promise<void>;
}

/** Opens a room with a clock of its own, which stands still. */
export async function openSinkRoom(store: Store): Promise<SinkRoom> {
  let clockMs = Date.now();
  const nowMs = () => clockMs;
  const org = await createTestOrganisation(store, new Date(clockMs));
  const keys = createLogKeys({ store, kms: testKms, host: 'kontext.test', nowMs });
  const replica = (change: Partial<SenderDeps> = {}) =>
    createSinkService({
      ...{ store, kms: testKms, nowMs, local: true, appended: createAppendSignal() },
      ...{ limiter: createRateLimiter(store, nowMs), fetch: createSafeFetch({ allowLoopback: true }) },
      random: () => 0.5,
      ...change,
    });
  const sequence = async (): Promise<void> => void (await sequenceLogs({ store, keys, nowMs }));
  return {
    ...{ org, nowMs, replica, sequence, sinks: replica() },
    advance: (ms) => {
      clockMs += ms;
    },
    append: async (count, fact = '') => {
      const events = Array.from({ length: count }, (_, at) => ({
        ...{ kind: 'agent.changed' as const, user: null, facts: { at, fact } },
      }));
      await store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
        appendServerEvents(tx, { orgId: org.orgId, sessionId: null }, events, new Date(clockMs)),
      );
      await sequence();
    },
  };
}
