import { readFileSync } from 'node:fs';
import { createEventChecker } from '@kontext/testkit';
import { describe, expect, it } from 'vitest';
import { encodeHeader } from '../event-header.ts';
import { clientEventKinds, eventKinds, writerOf } from '../event-kinds.ts';
import { createId } from '../ids.ts';
import { eventSchema, kindSpecs } from './event-schema.ts';

const check = createEventChecker();
const header = {
  ...{ v: 1 as const, org: createId('org'), stream: createId('str'), seq: 1, id: createId('evt') },
  ...{ kind: 'tool_call.decided' as const, session: createId('ses'), user: createId('usr'), agent: 'claude' },
  ...{ tool: 'Bash', toolUse: 'toolu_1', decision: 'deny' as const, rule: 'a.b', policyVersion: 3 },
  ...{ mode: 'observe' as const, occurredAt: '2026-11-23T10:00:00.000Z' },
  lineage: { leases: [createId('lea')], connection: null, approval: createId('apr'), serverEvent: null },
  ...{ redaction: 'full-v1' as const, payloadHash: 'a'.repeat(64), missing: null },
};
const text = encodeHeader(header);
const examples = eventKinds.flatMap((kind) =>
  kindSpecs[kind].forms.map(({ when, example }) => [kind, when, example] as const),
);

describe('the schema', () => {
  it('that is published is the one of the table', () => {
    const path = new URL('../../schema/audit-event-v1.json', import.meta.url);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(eventSchema());
  });

  it('takes what the header is written as, and knows its members in their order', () => {
    expect(check(text, null)).toEqual([]);
    expect(Object.keys(eventSchema().properties as object)).toEqual(Object.keys(JSON.parse(text)));
  });

  it.each([
    ['a member more', { ...header, more: 1 }],
    ['a member less', { ...header, mode: undefined }],
    ['a kind nobody knows', { ...header, kind: 'coffee.made' }],
    ['another id', { ...header, org: 'org_1' }],
    ['a version to come', { ...header, v: 2 }],
  ])('refuses a header with %s', (_, wrong) => {
    expect(check(JSON.stringify(wrong), null)).not.toEqual([]);
  });

  it.each(examples)('takes the example of %s, %s', (kind, _, example) => {
    expect(check(encodeHeader({ ...header, kind }), JSON.stringify(example))).toEqual([]);
  });

  it.each(examples)('refuses the example of %s, %s, with a member it does not know', (kind, _, example) => {
    const payload = JSON.stringify({ ...example, notDocumented: 1 });
    expect(check(encodeHeader({ ...header, kind }), payload)).not.toEqual([]);
  });

  it('says of each kind who may write it, as the check of batches does', () => {
    const byClient = eventKinds.filter((kind) => kindSpecs[kind].by !== 'server');
    expect(new Set(byClient)).toEqual(clientEventKinds);
    for (const kind of eventKinds) expect([kind, writerOf(kind)]).toEqual([kind, kindSpecs[kind].by]);
  });
});

describe('the page', () => {
  const page = readFileSync(new URL('../../../../docs/audit-events.md', import.meta.url), 'utf8');

  it('has every kind, with an example that the schema takes', () => {
    const sections = page.split('\n### ').slice(1);
    expect(sections.map((section) => section.split('\n')[0]).sort()).toEqual([...eventKinds].sort());
    for (const section of sections) {
      const kind = section.split('\n')[0] as (typeof eventKinds)[number];
      const shown = [...section.matchAll(/```json\n(.*)\n```/g)].map(([, example]) => example as string);
      expect(shown.length).toBeGreaterThan(0);
      for (const example of shown) expect(check(encodeHeader({ ...header, kind }), example)).toEqual([]);
    }
  });
});
