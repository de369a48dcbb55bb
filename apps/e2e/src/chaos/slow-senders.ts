import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ChaosOptions, type ChaosResult, must } from './scenario.ts';
import type { ChaosStream } from './sender.ts';
import { startStage } from './stage.ts';

const beginnings = [
  'POST /kontext.v1.AuditService/AppendEvents HTTP/1.1\r\nhost: x\r\nx-slow: ',
  'POST /kontext.v1.AuditService/AppendEvents HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n{"events":[',
  'G',
  '',
];

/** Hundreds of connections that send a byte now and then; a good client does not notice. */
export async function sendSlowly({ rounds }: ChaosOptions): Promise<ChaosResult> {
  const stage = await startStage();
  const port = Number(stage.world.recorder?.target.port);
  const sockets: Socket[] = [];
  let trickle: NodeJS.Timeout | undefined;
  try {
    const stream = await stage.sender.open();
    const alone = await timeDeliveries(stream, 20);
    const wanted = Math.min(2000, 200 * rounds);
    for (let n = 0; n < wanted; n += 1) {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => undefined).on('data', () => undefined);
      socket.write(beginnings[n % beginnings.length] ?? '');
      sockets.push(socket);
      if (n % 100 === 99) await sleep(20);
    }
    trickle = setInterval(() => {
      for (const socket of sockets) if (!socket.destroyed) socket.write('x');
    }, 500);
    await sleep(500);
    const beside = await timeDeliveries(stream, 20);
    must(beside < 5000, `a good client is answered meanwhile, not after ${beside} ms`);
    return await stage.finish({ sockets: wanted, slowestAloneMs: alone, slowestBesideMs: beside });
  } catch (error) {
    await stage.close();
    throw error;
  } finally {
    clearInterval(trickle);
    for (const socket of sockets) socket.destroy();
  }
}

/** @returns The longest of so many deliveries, in milliseconds. */
async function timeDeliveries(stream: ChaosStream, count: number): Promise<number> {
  let longest = 0;
  for (let n = 0; n < count; n += 1) {
    const startedAt = performance.now();
    await stream.deliver(stream.write(10));
    longest = Math.max(longest, performance.now() - startedAt);
  }
  return Math.round(longest);
}
