import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { AuditStage } from './audit-stage.ts';
import { expectNothingMissing, readSink } from './sink-story.ts';

const hourMs = 3_600_000;

/** Receivers that refuse for good, replays, and the end of a sink. The session is over. */
export function tellTroubleStory(stage: () => AuditStage): void {
  let exports = 0;
  /** Anything that is recorded and needs nobody to confirm it. */
  const makeEvent = async (): Promise<void> => {
    exports += 1;
    await stage().ok(['audit', 'export', '-o', join(stage().world.home.root, `trouble-${exports}.jsonl`)]);
  };
  const failedAttempts = () => stage().receiver.heard.filter(({ status }) => status !== 204).length;

  it('gives up a message that was refused for a day, goes on, and sends it again when it is asked to', async () => {
    const { receiver, clock, json, world } = stage();
    const before = failedAttempts();
    receiver.status = 403;
    await makeEvent();
    for (const [attempt, hours] of [0, 25, 26, 27, 28, 29].entries()) {
      clock.set(hours * hourMs);
      if (attempt < 5) await expect.poll(failedAttempts).toBeGreaterThan(before + attempt);
    }
    await expect.poll(() => readSink(stage())).toMatchObject({ dead: 1, lastError: 'it answered 403' });
    receiver.status = 204;
    await expect.poll(() => readSink(stage())).toMatchObject({ lagSegments: 0, dead: 1 });
    const [[dead] = []] = await json<Delivery[]>(['sinks', 'deliveries', 'siem', '--state', 'dead']);
    const [refused] = receiver.heard.filter(({ status }) => status === 403);
    const given = refused?.events.map(({ id }) => id) ?? [];
    const missing = given.filter((id) => !receiver.taken().some((event) => event.id === id));

    const replayed = await world.cli(['sinks', 'replay', 'siem', '--dead']);

    expect(dead).toMatchObject({ state: 'dead', status: 403, attempts: 5 });
    expect(missing).not.toEqual([]);
    expect(replayed.exitCode, replayed.stderr).toBe(0);
    await expect.poll(() => readSink(stage())).toMatchObject({ dead: 0, lagSegments: 0 });
    const taken = receiver.taken().map(({ id }) => id);
    expect(taken).toEqual(expect.arrayContaining(missing));
  });

  it('is disabled when its receiver says that it is gone, and resumed with a confirmation, missing nothing', async () => {
    const { receiver, world, confirmed } = stage();
    receiver.status = 410;
    await makeEvent();
    await expect
      .poll(() => readSink(stage()))
      .toMatchObject({ state: 'disabled', lastError: 'it answered 410' });
    await makeEvent();
    receiver.status = 204;

    const bare = await world.cli(['--no-input', 'sinks', 'resume', 'siem']);
    await confirmed(['sinks', 'resume', 'siem']);

    expect(bare.exitCode).toBe(77);
    await expect.poll(() => readSink(stage())).toMatchObject({ state: 'active', lagSegments: 0 });
    const kinds = receiver.taken().map(({ kind }) => kind);
    expect(kinds).toContain('sink.disabled');
    expect(kinds.filter((kind) => kind === 'audit.exported').length).toBeGreaterThanOrEqual(exports);
  });

  it('sends the past again after a confirmation, without payloads that were erased since', async () => {
    const { receiver, world, confirmed, session } = stage();
    const ofSession = () =>
      receiver.taken().filter(({ header }) => header.includes(`"${session.sessionId}"`));
    const before = new Set(ofSession().map(({ id }) => id));
    const count = ofSession().length;

    const bare = await world.cli(['--no-input', 'sinks', 'replay', 'siem', '--since', '7d']);
    await confirmed(['sinks', 'replay', 'siem', '--since', '7d']);

    expect(bare.exitCode).toBe(77);
    await expect.poll(() => ofSession().length).toBeGreaterThanOrEqual(count + before.size);
    const again = ofSession().slice(count);
    expect(new Set(again.map(({ id }) => id))).toEqual(expect.objectContaining(before));
    expect(again.filter(({ payload }) => payload?.includes('quarterly report'))).toEqual([]);
    await expectNothingMissing(stage());
  });

  it('is gone when it is removed', async () => {
    const { confirmed, json, world } = stage();

    await confirmed(['sinks', 'rm', 'siem']);

    expect(await json(['sinks', 'ls'])).toEqual([[]]);
    expect((await world.cli(['sinks', 'deliveries', 'siem'])).stderr).toContain('KX_NOT_FOUND');
  });
}

interface Delivery {
  readonly state: string;
  readonly status: number;
  readonly attempts: number;
}
