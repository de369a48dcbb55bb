import { createServer } from 'node:net';

/**
 * Finds a loopback TCP port that nobody listens on at this moment.
 *
 * Another process may take it before the caller does: callers that cannot listen on port 0 themselves retry.
 */
export function findFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
