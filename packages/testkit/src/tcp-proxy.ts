import { createServer, connect as openSocket, type Socket } from 'node:net';

/** What the network does now; change it at any time. */
export interface NetworkFaults {
  /** Of all pieces of a request that come by: how many cost the connection, 0 to 1. Half of those arrive all the same, and only the answer is lost. */
  lossRate: number;
  /** Added to each direction. */
  delayMs: number;
  /** Nothing gets through, and open connections end. */
  isAway: boolean;
}

/** A running proxy. */
export interface TcpProxy {
  readonly port: number;
  readonly faults: NetworkFaults;
  /** Connections that were cut. */
  readonly cut: number;
  /** Connections by target. */
  readonly connections: ReadonlyMap<number, number>;
  close(): Promise<void>;
}

/**
 * A TCP proxy on loopback that loses, delays, and spreads connections over several targets at random.
 *
 * @param targets Ports; asked at every connection. A target that refuses is passed over for the next.
 * @param random From 0 up to, not including, 1; default `Math.random`.
 */
export async function startTcpProxy(
  targets: () => readonly number[],
  random: () => number = Math.random,
): Promise<TcpProxy> {
  const faults: NetworkFaults = { lossRate: 0, delayMs: 0, isAway: false };
  const open = new Set<Socket>();
  const connections = new Map<number, number>();
  let cut = 0;
  const server = createServer((client) => {
    if (faults.isAway) return client.destroy();
    const chosen = [...targets()].sort(() => random() - 0.5);
    return dial(client, chosen);
  });

  const dial = (client: Socket, [port, ...others]: readonly number[]): void => {
    if (port === undefined) return void client.destroy();
    const upstream = openSocket(port, '127.0.0.1');
    const refused = (): void => dial(client, others);
    upstream.once('error', refused);
    upstream.once('connect', () => {
      upstream.off('error', refused);
      connections.set(port, (connections.get(port) ?? 0) + 1);
      join(client, upstream);
    });
  };

  const join = (client: Socket, upstream: Socket): void => {
    const end = (): void => {
      for (const socket of [client, upstream]) {
        socket.destroy();
        open.delete(socket);
      }
    };
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on('error', end).on('close', end);
    }
    const pass = (to: Socket, bytes: Buffer): void => {
      if (faults.delayMs === 0) to.write(bytes);
      else setTimeout(() => !to.destroyed && to.write(bytes), faults.delayMs);
    };
    client.on('data', (bytes: Buffer) => {
      if (faults.isAway) return end();
      if (random() >= faults.lossRate) return pass(upstream, bytes);
      cut += 1;
      if (random() < 0.5) return end();
      // It arrives, and nobody hears the answer.
      upstream.removeAllListeners('data');
      upstream.write(bytes);
      setTimeout(end, 200);
    });
    upstream.on('data', (bytes: Buffer) => {
      if (faults.isAway) return end();
      pass(client, bytes);
    });
  };

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    faults,
    get cut() {
      return cut;
    },
    connections,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}
