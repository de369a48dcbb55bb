/** Headers whose texts nobody should have to read: refused and told of, without a byte of them. */
import {
  type ChainedEvent,
  chainLink,
  type EventHeader,
  encodeHeader,
  hashEvent,
  headerTextFields,
  parseHeader,
  showHidden,
  toHeaderText,
} from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { createPayloadRedactor } from '@kontext/redaction';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestOrganisation, type TestOrganisation } from '../organisations/test-organisation.ts';
import type { Store } from '../store/store.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { appendServerEvent } from './append-server-event.ts';
import { type AuditService, createAuditService } from './audit-service.ts';
import { findUnfitHeader } from './find-unfit-header.ts';
import { openTestSession } from './test-client.ts';

const now = new Date();
/** Put together here so that no scanner takes this file for a leak. */
const token = `ghp_${'q7Xk2Lm9Rt4V'.repeat(3)}`;

/** The event as a client would send it that does not make its names fit. */
function lying(event: ChainedEvent, fields: Partial<EventHeader>): ChainedEvent {
  const header = encodeHeader({ ...parseHeader(event.header), ...fields });
  return { ...event, header, chain: chainLink(event.prev, hashEvent(header)) };
}

describe.each(testStores())('a header of a client on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  let audit: AuditService;
  let org: TestOrganisation;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
    audit = createAuditService({ store });
    org = await createTestOrganisation(store, now);
  });
  afterAll(() => opened?.close());

  const readAll = async (streamId: string) =>
    (await audit.readStream(org.owner, { streamId, fromSeq: 0, pageSize: 1000 })).events;
  const told = async (streamId: string) =>
    (await readAll(streamId))
      .filter(({ header }) => parseHeader(header).kind === 'tamper.fork')
      .map(({ payload }) => JSON.parse(payload ?? '{}'));
  const refusalOf = async (asked: Promise<unknown>): Promise<KontextError> => {
    const error = await asked.then(
      () => null,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(KontextError);
    return error as KontextError;
  };

  test.each([
    ...headerTextFields.flatMap((field) => [
      [field, 'hidden characters', 'evil\u202etxt'] as const,
      [field, 'a secret', token] as const,
    ]),
    ...['\0', '\u200b', '\ud800', '\u2028', '\n'].map(
      (char) => ['tool', 'hidden characters', `evil${char}txt`] as const,
    ),
    ['toolUse', 'a secret', 'PASSWORD=hunter2'] as const,
  ])('with %s of %s is refused, first and in mid-stream, and told of once', async (field, what, text) => {
    const client = await openTestSession(store, org.owner, now);
    const { clientStreamId: stream, serverStreamId } = client.opened;
    const first = client.write();
    const bad = lying(client.write(), { [field]: text });
    const both = client.batch([first, bad]);

    const whole = await refusalOf(audit.append(org.owner, both));
    expect(await readAll(stream)).toEqual([]);
    // The second batch of a stream goes another way than the first.
    expect((await audit.append(org.owner, client.batch([first]))).status).toBe('ok');
    const alone = await refusalOf(audit.append(org.owner, client.batch([bad])));
    const bare = await refusalOf(
      audit.append(org.owner, client.batch([{ ...bad, payload: null, salt: null }])),
    );

    const { seq } = bad;
    for (const error of [whole, alone, bare]) {
      expect(error).toMatchObject({ code: 'KX_EVENT_INVALID', details: { seq } });
      expect(error.why).toContain(field);
      expect(JSON.stringify([error.message, error.why, error.hint, error.details])).not.toMatch(
        /evil|ghp_|hunter/,
      );
    }
    const verb = what === 'a secret' ? 'shows' : 'holds';
    const reason = `its header ${verb} ${what} in the field "${field}"`;
    expect(await told(serverStreamId)).toEqual([{ stream, seq, reason }]);
    expect((await readAll(stream)).map(({ header }) => header)).toEqual([first.header]);
  });

  test('that is refused leaves its place to one that is fit', async () => {
    const client = await openTestSession(store, org.owner, now);
    const event = client.write({ tool: 'a\u202eb' });
    const bad = lying(event, { tool: 'a\u202eb' });

    await refusalOf(audit.append(org.owner, client.batch([bad])));

    expect((await audit.append(org.owner, client.batch([event]))).status).toBe('ok');
    const [stored] = await readAll(client.opened.clientStreamId);
    expect(parseHeader(stored?.header ?? '').tool).toBe('a\ufffdb');
  });

  test.each([
    'get_token',
    'mcp__vault__read_secret',
    'déjà vu',
    '100%25',
    '\u{1f600}',
    '[redacted]',
    'a\\ud800',
  ])('with the name %s is stored as it is', async (tool) => {
    const client = await openTestSession(store, org.owner, now);
    const events = [client.write({ tool }), client.write({ toolUse: tool, rule: tool })];

    for (const event of events)
      expect((await audit.append(org.owner, client.batch([event]))).status).toBe('ok');

    const stored = await readAll(client.opened.clientStreamId);
    expect(stored.map(({ header }) => header)).toEqual(events.map(({ header }) => header));
  });

  test('of an event of ours names nothing that is hidden or secret either', async () => {
    const client = await openTestSession(store, org.owner, now);
    const at = { orgId: org.owner.orgId, sessionId: client.sessionId };
    const names = { tool: `a\u202e ${token}`, toolUse: token, rule: `${'x'.repeat(255)}\u{1f600}` };

    await store.transaction({ role: 'app', orgId: org.owner.orgId }, (tx) =>
      appendServerEvent(tx, at, { kind: 'approval.requested', ...names }, now),
    );

    const last = (await readAll(client.opened.serverStreamId)).at(-1);
    expect(parseHeader(last?.header ?? '')).toMatchObject({
      ...{ tool: 'a\ufffd [redacted]', toolUse: '[redacted]', rule: `${'x'.repeat(255)}\ufffd` },
    });
  });
});

const part = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 6 }),
  fc.constantFrom('\0', '\u202e', '\u200b', '\u2028', '\ud800', '\\u0067', '%67', ' ', '"', '='),
  fc.constantFrom(token, 'token', 'password: hunter2x', '{"api_key":"', '"}', '--password ', 'Bearer '),
  fc.constantFrom('abcDEF123456789xyz', 'https://u:p4ss0rd@h/x', 'AKIAIOSFODNN7EXAMPLE', 'mysql -phunter2 '),
  fc.integer({ min: 200, max: 256 }).map((length) => 'x'.repeat(length)),
);
const name = fc.array(part, { minLength: 1, maxLength: 8 }).map((parts) => parts.join(''));
const eventOf = (header: object, seq = 1) =>
  [{ seq, parsed: header }] as unknown as Parameters<typeof findUnfitHeader>[0];

test('no name that an honest client makes fit is refused', () => {
  const redactor = createPayloadRedactor({ secrets: [], nowMs: () => 0 });
  const redact = (text: string): string => {
    const redacted = redactor.redactText(text);
    return redacted.kind === 'redacted' ? redacted.text : '[redacted]';
  };

  fc.assert(
    fc.property(name, name, (tool, toolUse) => {
      const [fitTool, fitUse] = [tool, toolUse].map((text) => toHeaderText(text, 256, redact));
      const named = { agent: 'claude', tool: fitTool, toolUse: fitUse, rule: null };
      expect(findUnfitHeader(eventOf(named))).toBeNull();
    }),
    { numRuns: 1000 },
  );
});

test('a name is judged the same alone and among others', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(name.map(showHidden), fc.constantFrom('Bash', 'mcp__x__y')), { maxLength: 6 }),
      (tools) => {
        const events = tools.flatMap((tool, index) =>
          eventOf({ agent: null, tool, toolUse: null, rule: null }, index),
        );
        const alone = events.findIndex((event) => findUnfitHeader([event]) !== null);
        expect(findUnfitHeader(events)?.seq ?? -1).toBe(alone);
      },
    ),
    { numRuns: 1000 },
  );
});
