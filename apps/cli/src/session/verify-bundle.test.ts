import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createId } from '@kontext/audit';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Spool } from '../spool/spool.ts';
import { createLocalAuditFile } from './local-audit-file.ts';
import { verifyBundle } from './verify-bundle.ts';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'kontext-bundle-'));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const open = (more = {}): Spool =>
  createLocalAuditFile({
    path: join(home, 'audit', 'a.jsonl'),
    stream: {
      ...{ stream: createId('str'), org: createId('org'), session: createId('ses'), agent: 'claude' },
      nonce: Buffer.alloc(32, 5),
    },
    ...more,
  });
const record = (file: Spool, count: number): void => {
  for (let n = 0; n < count; n += 1) {
    file.intend({ kind: 'tool_call.decided', tool: 'Bash', decision: 'allow' })?.(`{"n":${n}}`);
  }
};
const text = (): string => readFileSync(join(home, 'audit', 'a.jsonl'), 'utf8');
const put = (content: string | Buffer): void => writeFileSync(join(home, 'b.jsonl'), content);
const verify = async (path = 'b.jsonl') => (await verifyBundle(path, home))[0];
const refused = (why: string) =>
  expect.objectContaining({ code: 'KX_BUNDLE_INVALID', why: expect.stringContaining(why) });

describe('a local audit file', () => {
  it('verifies when its session ended in order, and is nobody else’s to read', async () => {
    const file = open();
    record(file, 5);
    expect(await file.close()).toBe(true);
    expect(await verify('audit/a.jsonl')).toMatchObject({ ok: true, events: 5, exitCode: 0, kind: 'client' });
    expect(statSync(join(home, 'audit', 'a.jsonl')).mode & 0o777).toBe(0o600);
    expect(statSync(join(home, 'audit')).mode & 0o777).toBe(0o700);
  });

  it('verifies without any event', async () => {
    await open().close();
    expect(await verify('audit/a.jsonl')).toMatchObject({ ok: true, events: 0, exitCode: 0 });
  });

  it('begins with the lines a reader needs, and holds each intent before its event', async () => {
    const file = open({ nowMs: () => 1_790_000_000_000 });
    record(file, 1);
    await file.close();
    const lines = text()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines[0]).toEqual({
      ...{ kontext: 'audit-bundle', v: 1, made: 'local', cli: expect.any(String) },
      createdAt: '2026-09-21T14:13:20.000Z',
    });
    expect(lines.map((line) => Object.keys(line)[0])).toEqual([
      'kontext',
      'stream',
      'intent',
      'event',
      'end',
    ]);
  });

  it('is cut anywhere and verifies up to the last whole line, and says that it does not end in order', async () => {
    const file = open();
    record(file, 4);
    await file.close();
    const whole = Buffer.from(text());
    const start = whole.indexOf('\n', whole.indexOf('\n') + 1) + 1;
    const cuts = fc.integer({ min: start, max: whole.length - 1 });
    await fc.assert(
      fc.asyncProperty(cuts, async (cut) => {
        put(whole.subarray(0, cut));
        const report = await verify();
        const events = whole.subarray(0, cut).toString().split('\n').slice(0, -1);
        expect(report).toMatchObject({
          ...{ ok: false, exitCode: 13, findingCount: 1 },
          events: events.filter((line) => line.startsWith('{"event"')).length,
        });
        expect(report?.findings[0]?.code).toBe('KX_AUDIT_TRUNCATED');
      }),
      { numRuns: 60 },
    );
  });

  it('counts calls whose record a killed session left out', async () => {
    const file = open();
    record(file, 2);
    file.intend({ kind: 'tool_call.decided', tool: 'Bash', decision: 'allow' });
    put(text());
    expect((await verify())?.findings[0]?.sentence).toContain(
      '1 calls were answered whose record is not there',
    );
    await file.close();
    expect(await verify('audit/a.jsonl')).toMatchObject({ ok: true, events: 3, missing: 1 });
  });

  it('finds what was changed, taken out, turned around or put in', async () => {
    const file = open();
    record(file, 4);
    await file.close();
    const lines = text().trimEnd().split('\n');
    const events = lines.flatMap((line, at) => (line.startsWith('{"event"') ? [at] : []));
    const [first = 0, second = 0] = events.slice(1);
    const codeOf = async (changed: readonly string[]): Promise<number | undefined> => {
      put(`${changed.join('\n')}\n`);
      return (await verify())?.exitCode;
    };
    const swapped = lines.with(first, lines[second] ?? '').with(second, lines[first] ?? '');
    expect(await codeOf(lines.with(first, (lines[first] ?? '').replace('{\\"n\\":1}', '{\\"n\\":7}')))).toBe(
      15,
    );
    expect(await codeOf(lines.filter((_, at) => at !== first))).toBe(10);
    expect(await codeOf(swapped)).not.toBe(0);
    expect(await codeOf(lines.with(first, 'garbage'))).toBe(10);
    expect(await codeOf([...lines, 'garbage'])).toBe(15);
    expect(await codeOf([...lines, lines[first] ?? ''])).not.toBe(0);
    expect(await codeOf([...lines.slice(0, -1), '{"new":"kind of line"}', lines.at(-1) ?? ''])).toBe(0);
  });

  it('does not forget what it found when the stream begins anew, and takes no event of another stream', async () => {
    const file = open();
    record(file, 3);
    await file.close();
    const lines = text().trimEnd().split('\n');
    const changed = lines.map((line) => line.replace('{\\"n\\":1}', '{\\"n\\":7}'));
    put(`${[...changed, ...lines.slice(1)].join('\n')}\n`);
    expect(await verify()).toMatchObject({ ok: false, exitCode: 15 });
    put(`${[...lines, ...lines.slice(1)].join('\n')}\n`);
    expect(await verify()).toMatchObject({ ok: false });
    const foreign = lines.find((line) => line.startsWith('{"event"'))?.replace(/str_[^"]+/, createId('str'));
    put(`${[...lines, foreign].join('\n')}\n`);
    expect(await verify()).toMatchObject({ ok: false, exitCode: 15 });
  });

  it('takes no more than its limit, and says how much was lost', async () => {
    const file = open({ limits: { maxBytes: 1 << 20, maxEvents: 3 } });
    record(file, 5);
    expect(file.full).toBe(true);
    expect(file.state).toMatchObject({ events: 3, lost: 2 });
    await file.close();
    expect(text()).toContain('events.lost');
  });

  it('is never written over another file', async () => {
    await open().close();
    expect(() => open()).toThrow(expect.objectContaining({ code: 'KX_SPOOL_CORRUPT' }));
  });
});

describe('a hostile file', () => {
  const whole = async (): Promise<string[]> => {
    const file = open();
    record(file, 2);
    await file.close();
    return text().trimEnd().split('\n');
  };

  it.each([
    ['stream', 'id'],
    ['stream', 'org'],
    ['intent', 'seq'],
    ['event', 'stream'],
    ['event', 'seq'],
    ['event', 'header'],
    ['end', 'stream'],
    ['end', 'seq'],
  ])('is altered, and crashes nothing, with a %s whose %s cannot be made a text', async (type, name) => {
    const lines = (await whole()).map((line) => {
      const value = JSON.parse(line);
      if (value[type] !== undefined) value[type][name] = { toString: 1, valueOf: 1 };
      return JSON.stringify(value);
    });
    put(`${lines.join('\n')}\n`);

    const report = await verify();

    expect(report?.ok).toBe(type === 'intent');
  });

  it('has its version shown, whatever that is', async () => {
    put('{"kontext":"audit-bundle","v":{"toString":1,"valueOf":1}}\n');

    await expect(verify()).rejects.toEqual(refused('it has version {"toString"'));
  });

  it('does not verify as a local one when it is of an organisation whose log this machine knows', async () => {
    const lines = await whole();
    const { org } = JSON.parse(lines[1] ?? '').stream;
    put(`${lines.join('\n')}\n`);

    await expect(verifyBundle('b.jsonl', home, [`kontext.example/${org}+00000000+AAAA`])).rejects.toEqual(
      expect.objectContaining({ code: 'KX_AUDIT_SIGNATURE' }),
    );
    expect(await verifyBundle('b.jsonl', home, [`kontext.example/${createId('org')}+0+A`])).toMatchObject([
      { ok: true },
    ]);
  });
});

describe('what is no bundle', () => {
  it.each([
    ['an empty file', '', 'it is empty'],
    ['another file', '{"hello":1}\n', 'not that of an audit bundle'],
    ['no JSON', 'PK\u0003\u0004', 'not that of an audit bundle'],
    ['a later version', '{"kontext":"audit-bundle","v":2}\n', 'it has version 2'],
    [
      'a line that never ends',
      `{"kontext":"audit-bundle","v":1}\n${'x'.repeat(17 << 20)}`,
      'longer than 16 MiB',
    ],
  ])('is %s', async (_what, content, why) => {
    put(content);
    await expect(verify()).rejects.toEqual(refused(why));
  });

  it('is a file that is not there, or a directory', async () => {
    await expect(verify('gone')).rejects.toEqual(refused('there is no such file'));
    await expect(verify('.')).rejects.toEqual(refused('EISDIR'));
  });
});
