import { type EventKind, parseHeader } from '@kontext/audit';
import { eq } from 'drizzle-orm';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Caller } from '../../caller.ts';
import { createTestOrganisation, type TestOrganisation } from '../../organisations/test-organisation.ts';
import type { EventRow } from '../../store/queries/audit-events.ts';
import { type EventQuery, toInstant } from '../../store/queries/event-query.ts';
import { auditRefs, sessions, users } from '../../store/schema.ts';
import type { Store } from '../../store/store.ts';
import { type TestStore, testStores } from '../../store/test-stores.ts';
import { appendServerEvent } from '../append-server-event.ts';
import { type AuditService, createAuditService } from '../audit-service.ts';
import { openTestSession } from '../test-client.ts';
import { parseQuery } from './parse-query.ts';
import { searchEvents } from './search-events.ts';

const hourMs = 3_600_000;
const hostile = ['100%', 'a_b', 'C:\\dir', `it's`, '"quoted"', 'NULL', '{}', '; DROP TABLE users;--', '$1'];

/** The rules of docs/audit-search.md once more, over rows in memory. */
function matches(
  row: EventRow,
  query: EventQuery,
  nowMs: number,
  providers: (row: EventRow) => string[],
): boolean {
  const header = parseHeader(row.header);
  const lower = (text: string | null | undefined) => (text ?? '').toLowerCase();
  const same = (value: string, prefix: boolean) => (text: string) =>
    prefix ? text.startsWith(value) : text === value;
  const holds = (term: EventQuery['terms'][number]): boolean => {
    if (term.field === 'text') {
      const spelled = [term.value, JSON.stringify(term.value).slice(1, -1)].map(lower);
      return spelled.some((text) => lower(row.payload).includes(text));
    }
    const { value, prefix } = term;
    const values: Record<typeof term.field, (string | null)[]> = {
      ...{ actor: [row.userId, lower(row.userName)], agent: [header.agent], decision: [row.decision] },
      ...{ kind: [row.kind], mode: [header.mode], provider: providers(row), rule: [header.rule] },
      ...{ session: [row.sessionId], stream: [row.streamId], tool: [row.tool] },
      repo: lower(row.repository)
        .split('/')
        .map((_, at, parts) => parts.slice(at).join('/')),
    };
    const wanted =
      term.field === 'repo' || (term.field === 'actor' && !value.startsWith('usr_')) ? lower(value) : value;
    return values[term.field].some((text) => text !== null && text !== '' && same(wanted, prefix)(text));
  };
  const asked = query.terms.filter((term) => !term.negated);
  const grouped = (field: string) => asked.filter((term) => term.field === field);
  return (
    query.terms.filter((term) => term.negated).every((term) => !holds(term)) &&
    asked.every((term) => (term.field === 'text' ? holds(term) : grouped(term.field).some(holds))) &&
    (query.since === null || row.receivedAt >= toInstant(query.since, nowMs)) &&
    (query.until === null || row.receivedAt < toInstant(query.until, nowMs))
  );
}

describe.each(testStores())('searching the audit log on $kind', ({ open }) => {
  let nowMs = Date.now();
  let opened: TestStore;
  let store: Store;
  let audit: AuditService;
  let org: TestOrganisation;
  let ann: Caller;
  let sessionIds: string[];
  let streamIds: string[];
  const now = () => new Date(nowMs);

  beforeAll(async () => {
    opened = await open();
    store = opened.store;
    audit = createAuditService({ store, nowMs: () => nowMs });
    org = await createTestOrganisation(store, now());
    ann = await org.addUser('member');
    const other = await createTestOrganisation(store, now());
    const clients = [];
    for (const caller of [org.owner, ann, ann, other.owner]) {
      clients.push({ caller, client: await openTestSession(store, caller, now()) });
      nowMs += 1;
    }
    sessionIds = clients.map(({ client }) => client.sessionId);
    streamIds = clients.flatMap(({ client }) => [client.opened.clientStreamId, client.opened.serverStreamId]);
    await store.transaction({ role: 'system', orgId: null }, async (tx) => {
      const named = [
        'github.com/acme/shop',
        'github.com/acme/shop-api',
        'gitlab.com/Other/x%y',
        'github.com/acme/shop',
      ];
      for (const [at, repository] of named.entries()) {
        await tx
          .update(sessions)
          .set({ repository })
          .where(eq(sessions.id, sessionIds[at] ?? ''));
      }
      await tx.update(users).set({ name: 'Ann' }).where(eq(users.id, ann.userId));
    });
    const tools = ['Bash', 'Read', 'mcp__github__push', 'mcp__x', 'Ba%', 'ba_h', null];
    const decisions = ['allow', 'deny', 'ask', null] as const;
    const kinds: EventKind[] = ['tool_call.decided', 'tool_call.completed', 'agent.event'];
    for (let round = 0; round < 12; round += 1) {
      for (const [at, { caller, client }] of clients.entries()) {
        const events = Array.from({ length: 1 + (round % 3) }, (_, i) => {
          const n = round + at * 5 + i;
          return client.write(
            {
              kind: kinds[n % 3] ?? 'agent.event',
              tool: tools[n % 7] ?? null,
              decision: decisions[n % 4] ?? null,
              rule: n % 2 ? 'no-push' : null,
              mode: n % 5 ? 'observe' : 'enforce',
              agent: n % 3 ? 'claude' : 'codex',
            },
            n % 4 === 3 ? null : JSON.stringify({ command: `git Push ${hostile[n % hostile.length]} ${n}` }),
          );
        });
        await audit.append(caller, client.batch(events));
        // Some batches share their instant.
        if (round % 2) nowMs += 1;
      }
      nowMs += 7 * hourMs;
    }
    // What the backend and others write: about a member's session, and about the organisation.
    const owner = { orgId: org.orgId, sessionId: sessionIds[1] ?? '' };
    for (const stream of [owner, { orgId: org.orgId, sessionId: null }]) {
      await store.transaction({ role: 'app', orgId: org.orgId }, async (tx) => {
        const said = {
          kind: 'credential.revoked',
          user: org.owner.userId,
          facts: { provider: 'github' },
        } as const;
        const { streamId, seq } = await appendServerEvent(tx, stream, said, now());
        const ref = { orgId: org.orgId, ref: 'provider:github', streamId, seq, receivedAt: now() };
        await tx
          .insert(auditRefs)
          .values({ ...ref, partDay: now().toISOString().slice(0, 10) })
          .onConflictDoNothing();
      });
      nowMs += hourMs;
    }
  });
  afterAll(() => opened?.close());

  const everything = async (caller: Caller): Promise<EventRow[]> => {
    const { streams } = await audit.listStreams(caller, { sessionId: null, pageSize: 200, cursor: '' });
    const rows: EventRow[] = [];
    for (const { id } of streams) {
      rows.push(...(await audit.readStream(caller, { streamId: id, fromSeq: 0, pageSize: 1000 })).events);
    }
    const key = (row: EventRow) =>
      `${row.receivedAt.toISOString()} ${row.streamId} ${String(row.seq).padStart(9, '0')}`;
    return rows.sort((a, b) => (key(a) < key(b) ? 1 : -1));
  };
  const pages = async (caller: Caller, query: string, pageSize = 50, chunk = 20_000) => {
    const found: EventRow[][] = [];
    for (let cursor = ''; ; ) {
      const search = { query, pageSize, cursor, payloads: true };
      const budget = { chunk, textChunk: chunk, chunks: 2 };
      const page = await searchEvents(store, caller, search, { nowMs: () => nowMs, budget });
      found.push([...page.events]);
      if (page.next === null) return found;
      cursor = page.next;
    }
  };
  const search = async (caller: Caller, query: string) => (await pages(caller, query)).flat();
  const idOf = ({ streamId, seq }: EventRow) => `${streamId}:${seq}`;
  const providersOf = (row: EventRow) => (row.kind === 'credential.revoked' ? ['github'] : []);

  test('without a query everything the caller may see comes, newest first, page by page', async () => {
    for (const caller of [org.owner, ann]) {
      const wanted = await everything(caller);
      expect((await pages(caller, '', 10)).flat().map(idOf)).toEqual(wanted.map(idOf));
    }
    const found = await search(ann, '');
    expect(new Set(found.map(({ sessionId }) => sessionId))).toEqual(new Set(sessionIds.slice(1, 3)));
    expect(found.map(({ kind }) => kind)).toContain('credential.revoked');
  });

  test('any query finds what the rules say, whatever the pages and chunks', async () => {
    const values = {
      actor: ['ann', 'Ann', 'owner', 'an*', org.owner.userId, ann.userId, 'nobody', '"%"'],
      agent: ['claude', 'c*', 'codex'],
      decision: ['allow', 'deny', 'ask'],
      kind: ['tool_call.*', 'agent.event', 'session.opened', 'credential.revoked'],
      mode: ['observe', 'enforce'],
      provider: ['github', 'linear'],
      repo: ['acme/shop', 'acme/*', 'SHOP', 'github.com/acme/shop', '"x%y"', 'x_y', '%', 'hub.com/*'],
      rule: ['no-push', 'no*', '"no_push"'],
      session: sessionIds,
      stream: streamIds,
      tool: ['Bash', 'mcp__*', 'Ba%', 'Ba*', 'ba_h', '"ba%"', '*', 'nope'],
      since: ['20h', '2d', '90m', '6d', '2026-01-01'],
      until: ['20h', '2d', '5d', '2026-01-01', '9s'],
    };
    const texts = [
      'push',
      '"git PUSH"',
      '"100%"',
      '"a_b"',
      '"C:\\\\dir"',
      '"\\"quoted\\""',
      "it's",
      '"%"',
      '"NULL"',
      '_',
      '"nope"',
    ];
    const once = fc
      .constantFrom(...(['since', 'until'] as const))
      .chain((field) => fc.constantFrom(...values[field]).map((value) => `${field}:${value}`));
    const fields = Object.keys(values).filter(
      (name) => name !== 'since' && name !== 'until',
    ) as (keyof typeof values)[];
    const term = fc
      .tuple(fc.constantFrom('', '', '-'), fc.constantFrom(...fields))
      .chain(([sign, field]) => fc.constantFrom(...values[field]).map((value) => `${sign}${field}:${value}`));
    const text = fc.tuple(fc.constantFrom('', '-'), fc.constantFrom(...texts)).map((parts) => parts.join(''));
    const query = fc
      .tuple(
        fc.array(term, { maxLength: 3 }),
        fc.array(text, { maxLength: 1 }),
        fc.array(once, { maxLength: 1 }),
      )
      .map((parts) => parts.flat().join(' '));
    const rows = new Map<Caller, EventRow[]>();
    for (const caller of [org.owner, ann]) rows.set(caller, await everything(caller));
    await fc.assert(
      fc.asyncProperty(
        query,
        fc.constantFrom(org.owner, ann),
        fc.constantFrom(20, 100),
        fc.constantFrom(25, 20_000),
        async (asked, caller, pageSize, chunk) => {
          const parsed = parseQuery(asked);
          const wanted = rows.get(caller)?.filter((row) => matches(row, parsed, nowMs, providersOf)) ?? [];
          const found = (await pages(caller, asked, pageSize, chunk)).flat();
          expect(found.map(idOf)).toEqual(wanted.map(idOf));
        },
      ),
      { numRuns: 40 },
    );
  });

  test('a call is found by the provider whose credential it carried', async () => {
    expect((await search(org.owner, 'provider:github')).map(({ kind }) => kind)).toEqual([
      'credential.revoked',
      'credential.revoked',
    ]);
    expect(await search(ann, 'provider:github')).toHaveLength(1);
  });

  test('rows of another organisation are found by nobody but it', async () => {
    const [, , , foreign] = sessionIds;
    for (const query of [`session:${foreign}`, `stream:${streamIds[6]}`, `-session:${sessionIds[0]}`]) {
      const found = await search(org.owner, query);
      expect(found.filter(({ sessionId }) => sessionId === foreign)).toEqual([]);
    }
    expect(await search(ann, `session:${sessionIds[0]}`)).toEqual([]);
  });

  test('the repository of the session comes with the event, payloads when asked for', async () => {
    const query = `session:${sessionIds[0]} kind:tool_call.decided push`;
    const ask = (payloads: boolean) =>
      audit.search(org.owner, { query, pageSize: 1, cursor: '', payloads }).then(({ events }) => events[0]);
    expect(await ask(true)).toMatchObject({ repository: 'github.com/acme/shop', retentionClass: 'standard' });
    expect((await ask(true))?.payload).toContain('Push');
    expect(await ask(false)).toMatchObject({ payload: null, salt: null });
  });

  test('a page that looked at enough says how far it came, and goes on there', async () => {
    const ask = (cursor: string) =>
      searchEvents(
        store,
        org.owner,
        { query: 'rule:nope', pageSize: 10, cursor, payloads: false },
        { nowMs: () => nowMs, budget: { chunk: 5, textChunk: 5, chunks: 1 } },
      );
    const first = await ask('');
    expect(first).toMatchObject({ events: [], next: expect.any(String), searchedUntil: expect.any(Date) });
    const second = await ask(first.next ?? '');
    expect(second.searchedUntil?.getTime()).toBeLessThanOrEqual(first.searchedUntil?.getTime() ?? 0);
  });

  test.each([-1, 201])('refuses pages of %i', async (pageSize) => {
    const asked = audit.search(org.owner, { query: '', pageSize, cursor: '', payloads: false });
    await expect(asked).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
  });

  test('refuses a cursor that is not one of ours, or of another query', async () => {
    const { next } = await audit.search(org.owner, { query: '', pageSize: 1, cursor: '', payloads: false });
    const seal = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const fields = JSON.parse(Buffer.from(next ?? '', 'base64url').toString());
    const bent = [
      ...['x', 'bm90IGpzb24', seal(null), seal({}), seal([2, ...fields.slice(1)]), 'a'.repeat(10_000)],
      ...[2, 3, 4, 5].flatMap((at) =>
        ["' OR 1=1", 1e300, null].map((value) =>
          seal(fields.map((field: unknown, i: number) => (i === at ? value : field))),
        ),
      ),
    ];
    for (const cursor of bent) {
      const asked = audit.search(org.owner, { query: '', pageSize: 1, cursor, payloads: false });
      await expect(asked, cursor).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
    }
    const other = audit.search(org.owner, {
      query: 'tool:Bash',
      pageSize: 1,
      cursor: next ?? '',
      payloads: false,
    });
    await expect(other).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
  });

  test('a query that cannot be read is refused before anything is looked at', async () => {
    const asked = audit.search(org.owner, { query: 'a OR b', pageSize: 1, cursor: '', payloads: false });
    await expect(asked).rejects.toMatchObject({ code: 'KX_QUERY_INVALID', details: { position: '3' } });
  });
});
