import { expect, it } from 'vitest';
import { bashCall } from '../puppet.ts';
import { runConfirmed } from '../run-confirmed.ts';
import type { AuditStage, FoundEvent } from './audit-stage.ts';
import type { SinkEvent } from './sink-receiver.ts';

/** One sink as `kontext sinks ls --json` prints it. */
export interface ListedSink {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly lagSegments: number;
  readonly dead: number;
  readonly lastError: string | null;
}

/** The only sink there is. */
export async function readSink(stage: AuditStage): Promise<ListedSink> {
  const [[sink] = []] = await stage.json<ListedSink[]>(['sinks', 'ls']);
  if (sink === undefined) throw new Error('there is no sink');
  return sink;
}

/** Waits until the sink was told of everything stored since it was added: what is not in the log yet comes a moment later. */
export async function expectNothingMissing(stage: AuditStage): Promise<void> {
  await expect
    .poll(() => readSink(stage))
    .toMatchObject({ state: 'active', lagSegments: 0, lastError: null });
  const stored = await stage.json<FoundEvent>(['audit', 'search', '--all']);
  const since = stored.find(({ kind }) => kind === 'sink.added')?.receivedAt ?? '';
  const expected = stored.filter(({ receivedAt }) => receivedAt > since).map(({ id }) => id);

  expect(expected.length).toBeGreaterThan(0);
  await expect
    .poll(() => stage.receiver.taken().map(({ id }) => id))
    .toEqual(expect.arrayContaining(expected));
  expect(stage.receiver.heard.map(({ isSigned }) => isSigned)).not.toContain(false);
}

/** Events in the order in which each came first, by the log and within each stream; returned with each once. */
function expectOrder(events: readonly SinkEvent[]): SinkEvent[] {
  const first = [...new Map(events.map((event) => [event.id, event])).values()];
  const leaves = first.map(({ leaf }) => leaf);
  expect(leaves).toEqual(leaves.toSorted((a, b) => a - b));
  for (const stream of new Set(first.map((event) => event.stream))) {
    const seqs = first.filter((event) => event.stream === stream).map(({ seq }) => seq);
    expect(seqs).toEqual(seqs.map((_, at) => (seqs[0] ?? 0) + at));
  }
  return first;
}

/** What a sink gets while all is well, and while its receiver is away for a moment. */
export function tellSinkStory(stage: () => AuditStage): void {
  it('is for guardians to add, see, try and remove', async () => {
    const { member, world } = stage();
    const person = member;
    for (const args of [['add', 'mine', 'http://127.0.0.1:9/'], ['ls'], ['replay', 'siem', '--dead']]) {
      const { exitCode, stderr } = await runConfirmed(member, ['sinks', ...args], { person });
      expect(exitCode, args[0]).toBe(77);
      expect(stderr).toContain('KX_FORBIDDEN');
    }
    const bare = await world.cli(['--no-input', 'sinks', 'add', 'other', 'http://127.0.0.1:9/']);
    expect(bare.exitCode).toBe(77);
    expect(bare.stderr).toContain('KX_CONFIRMATION');
  });

  it('gets every event that is stored, signed and in order, and a ping when it is tried', async () => {
    const { receiver, world, session, memberSession } = stage();

    const tested = await world.cli(['sinks', 'test', 'siem']);

    expect(tested.stderr).toContain('it answered 204');
    expect(receiver.heard.map(({ raw }) => raw).join()).toContain('"type":"ping"');
    await expectNothingMissing(stage());
    const calls = expectOrder(receiver.taken()).filter(({ kind }) => kind === 'tool_call.decided');
    const uses = calls.map(({ header }) => JSON.parse(header) as { session: string; toolUse: string });
    const ofSession = (id: string) => uses.filter((use) => use.session === id).map(({ toolUse }) => toolUse);
    expect(ofSession(memberSession)).toEqual(['toolu_ls']);
    expect(ofSession(session.sessionId)).toEqual(
      ['echo', 'build', 'deploy', 'read', 'mcp', 'touch'].map((id) => `toolu_${id}`),
    );
    expect(calls.map(({ payload }) => payload).join()).toContain('quarterly report');
  });

  it('is behind while its receiver fails, says so, and has missed nothing afterwards', async () => {
    const { receiver, session, ok } = stage();
    receiver.status = 500;
    for (const id of ['late1', 'late2']) await session.hook('PreToolUse', bashCall(`echo ${id}`, id));
    await expect
      .poll(() => readSink(stage()))
      .toMatchObject({ state: 'active', lastError: 'it answered 500' });
    const table = await ok(['sinks', 'ls']);
    const [[failed] = []] = await stage().json<{ readonly attempts: number }[]>([
      ...['sinks', 'deliveries', 'siem', '--state', 'failed'],
    ]);

    receiver.status = 204;

    expect(table).toMatch(/[1-9]\d* segments, \d+ s/);
    expect(table).toContain('it answered 500');
    expect(failed?.attempts).toBeGreaterThan(0);
    await expectNothingMissing(stage());
    const calls = expectOrder(receiver.taken()).map(({ header }) => header);
    for (const id of ['late1', 'late2']) expect(calls.join()).toContain(`toolu_${id}`);
  });
}
