import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KontextError } from '@kontext/errors';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { measureSpool } from '../session/measure-spool.ts';
import { createTestSpools, createTestStream, type TestSpools } from './test-spool.ts';
import { logUpload, toTrouble } from './upload-log.ts';

let spools: TestSpools;
beforeEach(() => {
  spools = createTestSpools();
});
afterEach(() => spools.close());

const decided = { kind: 'tool_call.decided', tool: 'Bash' } as const;
const stateDir = (): string => join(spools.root, '..');
const at = new Date('2026-01-02T03:04:05.000Z');
const away = { kind: 'waiting', error: new KontextError('KX_BACKEND_UNREACHABLE', 'it is\naway') } as const;

describe('the log of uploads', () => {
  it('holds one line for each change, in a file of the user alone', () => {
    spools.open();
    logUpload(stateDir(), 'ses_1', { at, trouble: toTrouble(away, at) });
    logUpload(stateDir(), 'ses_1', { at, trouble: toTrouble({ kind: 'flowing' }, at) });
    const path = join(stateDir(), 'uploads.log');
    expect(readFileSync(path, 'utf8').split('\n')).toEqual([
      '2026-01-02T03:04:05.000Z ses_1 waiting KX_BACKEND_UNREACHABLE it is away',
      '2026-01-02T03:04:05.000Z ses_1 flowing',
      '',
    ]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('does not grow without end', () => {
    spools.open();
    const path = join(stateDir(), 'uploads.log');
    writeFileSync(path, 'x'.repeat(300_000));
    logUpload(stateDir(), 'ses_1', { at, trouble: null });
    expect(statSync(path).size).toBeLessThan(100);
    expect(existsSync(`${path}.1`)).toBe(true);
  });
});

describe('the size of the spool', () => {
  it('counts events that are not acknowledged, and the age of the oldest', async () => {
    let nowMs = at.getTime();
    const spool = spools.open({ nowMs: () => nowMs });
    for (let n = 0; n < 5; n += 1) {
      spool.intend(decided)?.('{}');
      nowMs += 1000;
    }
    await spool.settle();
    const events = spool.source.take(2, 1e6);
    createTestStream(spools.facts).append({ prev: events[0]!.prev, events });
    spool.source.acknowledge(2);
    await spool.close();
    expect(measureSpool(stateDir())).toMatchObject({
      sessions: 1,
      events: 3,
      oldestAt: '2026-01-02T03:04:07.000Z',
      trouble: null,
    });
  });

  it('tells why a running session does not send, and forgets it when it does', async () => {
    const spool = spools.open();
    spool.intend(decided)?.('{}');
    await spool.settle();
    spool.noteTrouble(toTrouble(away, at));
    const during = measureSpool(stateDir());
    spool.noteTrouble(null);
    const after = measureSpool(stateDir());
    expect(during).toMatchObject({
      events: 1,
      trouble: { state: 'waiting', since: at.toISOString(), code: 'KX_BACKEND_UNREACHABLE' },
    });
    expect(after).toMatchObject({ events: 1, trouble: null });
    await spool.close();
  });

  it('does not count a running session that has sent everything', async () => {
    const spool = spools.open();
    spool.intend(decided)?.('{}');
    await spool.settle();
    spool.source.acknowledge(1);
    spool.noteTrouble(null);
    expect(measureSpool(stateDir())).toMatchObject({ sessions: 0, events: 0, oldestAt: null });
    await spool.close();
  });
});
