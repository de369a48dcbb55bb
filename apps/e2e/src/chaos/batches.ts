import { type ChainedEvent, createStreamWriter, parseHeader } from '@kontext/audit';
import { worldOf } from '../world-of.ts';
import { createLedger } from './ledger.ts';
import { type ChaosOptions, type ChaosResult, must } from './scenario.ts';
import { createSender } from './sender.ts';
import { startStage } from './stage.ts';

/** Batches twice, in any order, overlapping, several at a time: each event is stored once, in its place. */
export async function shuffleBatches({ rounds }: ChaosOptions): Promise<ChaosResult> {
  const stage = await startStage();
  try {
    const tally = { ok: 0, dup: 0, gap: 0, fork: 0, failed: 0 };
    for (let round = 0; round < rounds; round += 1) {
      const stream = await stage.sender.open();
      const events = stream.write(60);
      const pieces = Array.from({ length: 40 }, () => {
        const from = Math.floor(Math.random() * 60);
        return events.slice(from, from + 1 + Math.floor(Math.random() * 20));
      });
      for (let at = 0; at < pieces.length; at += 4) {
        for (const answer of await Promise.all(pieces.slice(at, at + 4).map(stream.send))) tally[answer] += 1;
      }
      // What is missing at the end is sent from the start, as a client does that was told of a gap.
      await stream.deliver(events);
    }
    must(tally.fork === 0 && tally.failed === 0, `honest batches are no forgery: ${JSON.stringify(tally)}`);
    return await stage.finish({ ...tally });
  } catch (error) {
    await stage.close();
    throw error;
  }
}

/** Forged batches and somebody else's stream: refused, and recorded. */
export async function forgeBatches({ rounds }: ChaosOptions): Promise<ChaosResult> {
  const stage = await startStage({ people: [{ name: 'bob' }] });
  const { world, ledger, sender } = stage;
  try {
    const bob = await worldOf(world, 'bob');
    const stranger = await createSender(bob, createLedger());
    const kinds = { forks: 0, foreign: 0, broken: 0 };
    for (let round = 0; round < rounds; round += 1) {
      const stream = await sender.open();
      const events = stream.write(10);
      await stream.deliver(events);
      const next = stream.write(2);
      const refused = async (kind: keyof typeof kinds, batch: readonly ChainedEvent[], by = sender) => {
        const answer = await by.send(stream.streamId, batch);
        must(answer === 'fork' || answer === 'failed', `a forged batch (${kind}) is refused, not ${answer}`);
        kinds[kind] += 1;
        ledger.refuse();
      };
      await refused('forks', forgeFrom(events));
      await refused('foreign', next, stranger);
      await refused('broken', [{ ...(next[0] as ChainedEvent), chain: Buffer.alloc(32, 1) }]);
      await stream.deliver(next);
    }
    const recorded = (await sender.readAll()).filter(
      ({ header }) => parseHeader(header).kind === 'tamper.fork',
    ).length;
    must(recorded === kinds.forks + kinds.foreign, `forks and foreign batches are recorded: ${recorded}`);
    await bob.close();
    return await stage.finish({ ...kinds, recorded });
  } catch (error) {
    await stage.close();
    throw error;
  }
}

/** The right place and owner, other bytes. */
function forgeFrom(events: readonly ChainedEvent[]): ChainedEvent[] {
  const [first, last] = [events[0] as ChainedEvent, events.at(-1) as ChainedEvent];
  const { org, stream, session, user } = parseHeader(first.header);
  const head = { seq: last.seq - 1, hash: last.prev };
  const writer = createStreamWriter({ orgId: org, streamId: stream, from: { head } });
  return [writer.append({ kind: 'tool_call.decided', session, user, tool: 'Forged' }, '{}')];
}
