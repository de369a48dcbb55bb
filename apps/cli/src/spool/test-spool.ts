import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ChainedEvent,
  chainLink,
  createId,
  firstLink,
  hashEvent,
  hashPayload,
  parseHeader,
} from '@kontext/audit';
import { createSpool, type SpoolFacts, type SpoolOptions } from './spool.ts';
import type { AppendAnswer, AppendBatch } from './uploader.ts';

/** A scratch directory for spools, and what a session needs to open one. */
export interface TestSpools {
  readonly root: string;
  readonly key: Buffer;
  readonly facts: SpoolFacts;
  open(more?: Partial<SpoolOptions>): ReturnType<typeof createSpool>;
  close(): void;
}

/** Makes the facts of one session. */
export const testFacts = (): SpoolFacts => ({
  apiUrl: 'http://127.0.0.1:4180',
  org: createId('org'),
  session: createId('ses'),
  user: createId('usr'),
  agent: 'claude',
  stream: createId('str'),
  nonce: Buffer.alloc(32, 3).toString('base64'),
});

/** Makes a scratch directory; close it. */
export function createTestSpools(): TestSpools {
  const home = mkdtempSync(join(tmpdir(), 'kontext-spool-'));
  const root = join(home, 'spool');
  const key = Buffer.alloc(32, 8);
  const facts = testFacts();
  return {
    root,
    key,
    facts,
    open: (more = {}) => createSpool({ root, key, facts, ...more }),
    close: () => rmSync(home, { recursive: true, force: true }),
  };
}

/** A backend's stream in memory: the rules of AppendEvents in a few lines, checking every hash. */
export function createTestStream(facts: SpoolFacts) {
  const first = firstLink(facts.org, facts.stream, Buffer.from(facts.nonce, 'base64'));
  const events: ChainedEvent[] = [];
  const head = (): Buffer => events.at(-1)?.chain ?? first;
  const answer = (status: AppendAnswer['status']): AppendAnswer => ({
    status,
    headSeq: events.length,
    headHash: head(),
  });
  return {
    events,
    head,
    kinds: (): string[] => events.map(({ header }) => parseHeader(header).kind),
    append(batch: AppendBatch): AppendAnswer {
      const start = batch.events[0]?.seq ?? 0;
      if (start > events.length + 1) return answer('gap');
      let prev: Uint8Array = start === 1 ? first : (events[start - 2]?.chain ?? first);
      if (Buffer.compare(prev, batch.prev) !== 0) return answer('fork');
      let added = 0;
      for (const event of batch.events) {
        const stored = events[event.seq - 1];
        if (stored !== undefined && Buffer.compare(stored.chain, event.chain) !== 0) return answer('fork');
        checkEvent(event, prev);
        prev = event.chain;
        if (stored !== undefined) continue;
        events.push(event);
        added += 1;
      }
      return answer(added === 0 ? 'dup' : 'ok');
    },
  };
}

function checkEvent(event: ChainedEvent, prev: Uint8Array): void {
  const { payloadHash, seq } = parseHeader(event.header);
  if (seq !== event.seq) throw new Error('seq differs from header');
  if (Buffer.compare(chainLink(prev, hashEvent(event.header)), event.chain) !== 0)
    throw new Error('chain is wrong');
  if (event.payload === null || event.salt === null) return;
  if (hashPayload(event.salt, event.payload).toString('hex') !== payloadHash)
    throw new Error('payload hash is wrong');
}
