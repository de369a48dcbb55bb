import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts';

let server: Server;
let heard = 0;
let proxy: TcpProxy;
let random = 0.9;
const portOf = (): number => (server.address() as AddressInfo).port;

beforeEach(async () => {
  heard = 0;
  random = 0.9;
  server = createServer((_request, response) => {
    heard += 1;
    response.end('yes');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  proxy = await startTcpProxy(
    () => [portOf()],
    () => random,
  );
});
afterEach(async () => {
  await proxy.close();
  server.closeAllConnections();
  server.close();
});

const ask = (port = proxy.port): Promise<number | 'lost'> =>
  new Promise((resolve) => {
    const sent = request({ port, host: '127.0.0.1', agent: false }, (answer: IncomingMessage) => {
      answer.resume().once('end', () => resolve(answer.statusCode ?? 0));
    });
    sent.once('error', () => resolve('lost')).end();
  });

describe('a TCP proxy', () => {
  it('passes on what comes, and counts by target', async () => {
    expect(await ask()).toBe(200);
    expect([...proxy.connections]).toEqual([[portOf(), 1]]);
  });

  it('loses requests before they arrive, or only their answers', async () => {
    proxy.faults.lossRate = 1;
    const arrived = await ask();
    random = 0.1;
    const never = await ask();
    expect([arrived, never, heard, proxy.cut]).toEqual(['lost', 'lost', 1, 2]);
  });

  it('lets nothing through while it is away, and everything after', async () => {
    proxy.faults.isAway = true;
    const during = await ask();
    proxy.faults.isAway = false;
    expect([during, await ask()]).toEqual(['lost', 200]);
  });

  it('passes over a target that refuses', async () => {
    const other = await startTcpProxy(
      () => [1, portOf()],
      () => 0.9,
    );
    expect(await ask(other.port)).toBe(200);
    await other.close();
  });
});
