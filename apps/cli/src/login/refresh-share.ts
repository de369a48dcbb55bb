/**
 * Hands what one process got by a refresh to the processes that wait for it, from memory to memory: access tokens are never
 * stored. The socket lies in a directory of mode 0700, so only processes of this user reach it; what it hands out is bound to
 * the key in the keyring.
 */
import { rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';

/** Longest path of a socket, the NUL included; the smallest limit is that of macOS. */
const maxPathBytes = 103;
/** A refresh takes one request, and gives up after 10 s. */
const waitMs = 15_000;
const maxBytes = 16 * 1024;

/** Serves those who wait. */
export interface RefreshShare {
  /** Ends the wait of everybody, with a text or with null: then each has to see for itself. */
  finish(text: string | null): Promise<void>;
}

/** Begins to serve; where no socket can be made nobody is served, and everything else works. */
export async function serveRefresh(path: string): Promise<RefreshShare> {
  const waiting = new Set<Socket>();
  const server = createServer((socket) => {
    waiting.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => waiting.delete(socket));
  });
  const isServing = await new Promise<boolean>((resolve) => {
    if (Buffer.byteLength(path) > maxPathBytes) return resolve(false);
    // Left by a process that died; whoever gets here holds the lock.
    rmSync(path, { force: true });
    server.once('error', () => resolve(false));
    server.listen(path, () => resolve(true));
  });
  return {
    finish: async (text) => {
      if (!isServing) return;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of waiting) socket.end(text ?? '');
      // A reader that does not read must not hold this process.
      setTimeout(() => waiting.forEach((socket) => void socket.destroy()), 1_000).unref();
      await closed;
    },
  };
}

/** Waits for what another process gets. @returns Its text; null when nobody serves, or it got nothing. */
export function awaitRefresh(path: string): Promise<string | null> {
  return new Promise((resolve) => {
    if (Buffer.byteLength(path) > maxPathBytes) return resolve(null);
    let text = '';
    const socket = connect(path);
    socket.setEncoding('utf8').setTimeout(waitMs, () => socket.destroy());
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (text.length > maxBytes) socket.destroy();
    });
    socket.once('error', () => undefined);
    socket.once('close', (hadError) => resolve(hadError || text === '' ? null : text));
  });
}
