/** Many commands of one user at once: every one gets a token, and the backend is asked for one. */
import { existsSync, readFileSync } from 'node:fs';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { logIn, startWorld, type World } from '../world.ts';

const processes = 20;
/** Every socket of the machine with its path, one a line: also those that were accepted. */
const unixSockets = '/proc/net/unix';

describe.skipIf(!existsSync(unixSockets))('twenty commands that start at once', () => {
  let world: World;
  let gate: Promise<void> = Promise.resolve();
  let proxy: Server;
  beforeAll(async () => {
    world = await startWorld({ upstream: false, recorded: true });
    const { recorder } = world;
    if (recorder === null) throw new Error('the world is not recorded');
    const { hostname, port } = recorder.target;
    proxy = createServer(async (incoming, outgoing) => {
      if (incoming.url === '/oauth/token') await gate;
      const { method, url: path, headers } = incoming;
      const onward = request({ hostname, port, method, path, headers }, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 0, answer.rawHeaders);
        answer.pipe(outgoing);
      });
      onward.on('error', () => outgoing.destroy());
      incoming.pipe(onward);
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    recorder.target = new URL(`http://127.0.0.1:${(proxy.address() as AddressInfo).port}`);
    const login = await logIn(world, ['--insecure-storage']);
    expect(login.exitCode).toBe(0);
  });
  afterAll(async () => {
    proxy?.closeAllConnections();
    proxy?.close();
    await world?.close();
  });

  const refreshes = () =>
    (world.recorder?.exchanges ?? []).filter(
      ({ path, requestBody }) => path === '/oauth/token' && requestBody.includes('grant_type=refresh_token'),
    );
  /** Sockets of the refresh in this world's home: the one that listens, and one per command that waits at it. */
  const atSocket = () =>
    readFileSync(unixSockets, 'utf8')
      .split('\n')
      .filter((line) => line.includes(world.home.root) && line.includes('refresh-')).length;

  it('all succeed, by one refresh', async () => {
    let open: () => void = () => undefined;
    gate = new Promise((resolve) => {
      open = resolve;
    });
    const before = refreshes().length;
    const running = Promise.all(Array.from({ length: processes }, () => world.cli(['whoami'])));
    // The first waits for the backend, all others for the first.
    await expect.poll(atSocket, { timeout: 60_000 }).toBeGreaterThanOrEqual(processes);
    open();
    const results = await running;
    expect(results.map(({ exitCode, stderr }) => [exitCode, stderr.match(/error.*/)?.[0] ?? ''])).toEqual(
      Array.from({ length: processes }, () => [0, '']),
    );
    expect(refreshes().length - before).toBe(1);
  });
});
