import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { findUndocumented } from '../find-undocumented.ts';
import type { AuditStage, FoundEvent } from './audit-stage.ts';

/** Erasing and holding, and what a file of the log proves afterwards. Ends the session. */
export function tellErasureStory(stage: () => AuditStage): void {
  const payloadsOf = async (session: string): Promise<(string | null)[]> => {
    const found = await stage().json<FoundEvent>([
      ...['audit', 'search', '--all', '--payloads', `session:${session}`],
    ]);
    return found.map(({ payload }) => payload).filter((payload) => payload !== null);
  };
  const change = async (...args: string[]): Promise<Changed> =>
    JSON.parse(await stage().confirmed(['audit', ...args, '--reason', 'asked by the person', '--json']));

  it('finds events that are all as they are documented, of each stream and writer', async () => {
    const { session, json } = stage();
    expect((await session.end()).exitCode).toBe(0);
    await expect
      .poll(() => json(['audit', 'search', 'kind:session.ended', `session:${session.sessionId}`]))
      .toHaveLength(1);
    const events = await json<FoundEvent>(['audit', 'search', '--all', '--payloads']);

    expect(findUndocumented(events)).toEqual([]);
    const streams = (session: string) =>
      new Set(events.filter((event) => event.session === session).map(({ streamId }) => streamId)).size;
    expect([streams(''), streams(session.sessionId)]).toEqual([1, 2]);
    expect(new Set(events.map(({ kind }) => kind)).size).toBeGreaterThan(15);
  });

  // Five pages are confirmed.
  it('takes the payloads of a session, but not while it is held', { timeout: 180_000 }, async () => {
    const { session, memberSession, member, world } = stage();
    const theirs = (await payloadsOf(memberSession)).length;

    const held = await change('hold', memberSession);
    const refused = await change('erase', memberSession);
    const left = (await payloadsOf(memberSession)).length;
    await change('hold', memberSession, '--release');
    const erased = await change('erase', memberSession);
    const own = await change('erase', session.sessionId);

    expect([held.payloads, refused, left]).toEqual([theirs, { erased: 0, held: theirs }, theirs]);
    expect([erased, await payloadsOf(memberSession)]).toEqual([{ erased: theirs, held: 0 }, []]);
    expect(own.erased).toBeGreaterThan(10);
    expect(await payloadsOf(session.sessionId)).toEqual([]);
    expect(await stage().json(['audit', 'search', '"quarterly report"'])).toEqual([]);
    for (const [whose, code] of [
      [member, 'KX_FORBIDDEN'],
      [world, 'KX_CONFIRMATION'],
    ] as const) {
      const args = ['--no-input', 'audit', 'erase', memberSession, '--reason', 'none'];
      const { exitCode, stderr } = await whose.cli(args);
      expect(exitCode).toBe(77);
      expect(stderr).toContain(code);
    }
  });

  it('leaves a log that verifies offline, says how much was erased, of whom and why', async () => {
    const { ok, json, world, session, memberSession } = stage();
    const file = join(world.home.root, 'erased.jsonl');
    await ok(['audit', 'export', '-o', file]);
    const [checkpoint] = await json<{ readonly key: string }>(['audit', 'checkpoint']);
    const away = { KONTEXT_API_URL: 'http://127.0.0.1:9' };

    const { exitCode, stdout } = await world.cli(
      ['audit', 'verify', file, '--key', checkpoint?.key ?? '', '--json'],
      { env: away },
    );

    const report = JSON.parse(stdout) as { readonly withheld: number; readonly findings: readonly object[] };
    const events = readEvents(file);
    const bare = events.filter(({ payload, header }) => payload === null && header.payloadHash !== null);
    const kept = events
      .filter(({ header }) => header.kind === 'payload.erased')
      .map(({ payload }) => payload);
    expect(exitCode).toBe(0);
    expect(report).toMatchObject({ ok: true, scope: 'whole', findings: [], withheld: bare.length });
    expect(bare.length).toBeGreaterThan(10);
    const sessions = new Set(bare.map(({ header }) => header.session));
    expect(sessions).toEqual(new Set([session.sessionId, memberSession]));
    for (const words of [session.sessionId, memberSession, 'asked by the person'])
      expect(kept.join()).toContain(words);
    expect(readFileSync(file, 'utf8')).not.toContain('quarterly report');
    const said = await world.cli(['audit', 'verify', file], { env: away });
    expect(said.stdout).toContain(`${bare.length} payloads erased or withheld`);
  });
}

interface Changed {
  readonly payloads?: number;
  readonly erased?: number;
  readonly held?: number;
}

interface BundleEvent {
  readonly header: {
    readonly kind: string;
    readonly session: string | null;
    readonly payloadHash: string | null;
  };
  readonly payload: string | null;
}

const readEvents = (file: string): BundleEvent[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{"event"'))
    .map((line) => (JSON.parse(line) as { event: { header: string; payload: string | null } }).event)
    .map(({ header, payload }) => ({ header: JSON.parse(header), payload }));
