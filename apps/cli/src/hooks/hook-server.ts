/**
 * The private socket that hook clients talk to. Knows frames, keys and deadlines; what a hook means is its handler's.
 *
 * Rules:
 * - One directory of mode 0700 per session, a socket in it, the key beside it in a file of mode 0400.
 * - One request per connection. The key is compared, in constant time, as soon as its 32 bytes have arrived;
 *   a stranger is cut off before anything else of it is read.
 * - A request must be complete within its deadline. When too many connections are open, the one that has waited
 *   longest without showing the key makes room, so that idle sockets cannot keep a good client out.
 * - While a handler works, hold frames tell the client to go on waiting.
 * - Nothing a peer sends, and nothing a handler throws, ends the server.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { formatError, KontextError } from '@kontext/errors';
import { markDirectory } from '../process-mark.ts';
import { type AnswerWaits, createAnswerWaits } from './answer-waits.ts';
import {
  createRequestDecoder,
  encodeHold,
  encodeReply,
  type HookReply,
  type HookRequest,
  keyBytes,
  type RequestKind,
} from './frames.ts';
import { makePrivateDirectory } from './private-directory.ts';
import { textReply } from './text-reply.ts';

/** Longest socket path in bytes; the kernel's own limit is 104 to 108. */
export const maxSocketPathBytes = 100;

/** What the server needs, and limits a test may lower. */
export interface HookServerOptions {
  /** Directory of all sessions' sockets; made when missing. */
  readonly runtimeDir: string;
  /** Answers a hook. Its failure becomes {@link HookServerOptions.onFailure}. */
  readonly handleHook: (request: HookRequest) => Promise<HookReply>;
  /** Answers a request for a credential; left out: they are refused. Must not throw. */
  readonly handleCredential?: (request: HookRequest) => Promise<HookReply>;
  /** More for the answer to a self-test, which only those who hold the key hear. */
  readonly describeSelf?: () => Readonly<Record<string, unknown>>;
  /** The answer when the handler throws; must not throw. */
  readonly onFailure: (request: HookRequest, error: unknown) => HookReply;
  /** Time for a request to arrive whole; default 1,000 ms, below the client's first deadline. */
  readonly requestDeadlineMs?: number;
  /** Open connections, default 256. */
  readonly maxConnections?: number;
  /** Time between hold frames while a handler works, default 500 ms; each holds for four times that. */
  readonly holdEveryMs?: number;
  /** Time each hold frame holds at least, the first as soon as the request is here, for a handler that may block; default none. */
  readonly firstHoldMs?: number;
}

/** A listening hook server. */
export interface HookServer {
  /** Directory of this session, mode 0700; other files of the session may be put there. */
  readonly directory: string;
  readonly socketPath: string;
  /** Stops listening, cuts what is open, removes the directory. */
  close(): Promise<void>;
}

const hookSocketName = 's';

/**
 * Makes the directory, the key file and the socket, and listens.
 *
 * @throws KontextError `KX_SOCKET_FAILED` when the path is too long, not private, or cannot be listened on.
 */
export async function createHookServer(options: HookServerOptions): Promise<HookServer> {
  makePrivateDirectory(options.runtimeDir);
  // `mkdtemp` makes it 0700 and never follows or reuses what is there.
  const directory = mkdtempSync(join(options.runtimeDir, 'h'));
  const socketPath = join(directory, hookSocketName);
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  try {
    checkPathLength(socketPath);
    markDirectory(directory);
    const key = randomBytes(keyBytes);
    writeFileSync(`${socketPath}.key`, key, { mode: 0o400, flag: 'wx' });
    const connections = new Map<Socket, ConnectionState>();
    const waits = createAnswerWaits();
    // A client may shut its writing half once the request is out; it still waits for the reply.
    const server = createServer({ allowHalfOpen: true }, (socket) =>
      serveConnection(socket, { key, connections, waits }, options),
    );
    await listen(server, socketPath);
    return { directory, socketPath, close: () => closeServer(server, connections, remove) };
  } catch (error) {
    remove();
    throw error;
  }
}

function checkPathLength(path: string): void {
  if (Buffer.byteLength(path) <= maxSocketPathBytes) return;
  throw new KontextError('KX_SOCKET_FAILED', 'the path of the hook socket is too long', {
    why: `${path} is over ${maxSocketPathBytes} bytes`,
    hint: 'set XDG_RUNTIME_DIR to a shorter directory',
  });
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new KontextError('KX_SOCKET_FAILED', 'the hook socket cannot be made', { cause })),
    );
    server.listen({ path, backlog: 511 }, () => {
      server.removeAllListeners('error');
      // Accept errors (too many open files) pass; a listening socket stays usable.
      server.on('error', () => undefined);
      resolve();
    });
  });
}

function closeServer(server: Server, connections: Map<Socket, unknown>, remove: () => void): Promise<void> {
  for (const socket of connections.keys()) socket.destroy();
  return new Promise((resolve) => {
    server.close(() => {
      remove();
      resolve();
    });
  });
}

/** `waiting`: no key seen yet; `known`: right key; `answering`: the handler works or the reply is on its way. */
type ConnectionState = 'waiting' | 'known' | 'answering';

/** What all connections of one server share. */
interface Desk {
  readonly key: Buffer;
  readonly connections: Map<Socket, ConnectionState>;
  readonly waits: AnswerWaits;
}

function serveConnection(
  socket: Socket,
  { key, connections, waits }: Desk,
  options: HookServerOptions,
): void {
  const connectedAtMs = performance.now();
  const { requestDeadlineMs = 1000, maxConnections = 256 } = options;
  if (connections.size >= maxConnections && !makeRoom(connections)) {
    socket.destroy();
    return;
  }
  connections.set(socket, 'waiting');
  // Timers come before sockets: after a long turn the bytes may be here already, and are looked at first.
  const giveUp = (): void => {
    if (connections.get(socket) !== 'answering') socket.destroy();
  };
  const decoder = createRequestDecoder();
  const deadline = setTimeout(() => setImmediate(giveUp), requestDeadlineMs);
  socket.on('error', () => socket.destroy());
  socket.on('close', () => {
    clearTimeout(deadline);
    connections.delete(socket);
  });
  socket.on('end', giveUp);
  socket.on('data', (bytes) => {
    try {
      // A request that came whole is answered; bytes after it only cost their sender the connection.
      const request = decoder.push(bytes);
      const shown = decoder.key;
      if (shown !== null && !timingSafeEqual(shown, key)) throw new Error('wrong key');
      if (shown !== null && connections.get(socket) === 'waiting') connections.set(socket, 'known');
      if (request === null) return;
      clearTimeout(deadline);
      connections.set(socket, 'answering');
      void answerRequest(socket, request, { ...options, waits, connectedAtMs });
    } catch {
      socket.destroy();
    }
  });
}

/** Cuts the oldest connection that has not shown the key; a Map keeps the order of insertion. */
function makeRoom(connections: Map<Socket, ConnectionState>): boolean {
  for (const [socket, state] of connections) {
    if (state !== 'waiting') continue;
    connections.delete(socket);
    socket.destroy();
    return true;
  }
  return false;
}

type Answering = HookServerOptions & Pick<Desk, 'waits'> & { readonly connectedAtMs: number };

async function answerRequest(socket: Socket, request: HookRequest, options: Answering): Promise<void> {
  const { holdEveryMs = 500, firstHoldMs = 0, waits, connectedAtMs } = options;
  if (firstHoldMs > 0 && socket.writable) socket.write(encodeHold(firstHoldMs));
  const hold = setInterval(() => {
    if (socket.writable) socket.write(encodeHold(Math.max(4 * holdEveryMs, firstHoldMs)));
  }, holdEveryMs);
  // What is not answered within this turn may load the engine next, which lets no timer run on a busy machine.
  const early = setImmediate(() => {
    if (socket.writable) socket.write(encodeHold(Math.max(coldHoldMs, firstHoldMs)));
  });
  try {
    const reply = await answers[request.kind](request, options).catch((error: unknown) =>
      options.onFailure(request, error),
    );
    const bytes = encodeReply(reply);
    // Before the write: it wakes the client, which may well run first, with its answer in hand.
    if (request.kind === 'hook') waits.note(performance.now() - connectedAtMs);
    socket.end(bytes);
    // A client that does not take its reply may not keep the connection.
    socket.setTimeout(2000, () => socket.destroy());
  } catch {
    socket.destroy();
  } finally {
    clearInterval(hold);
    clearImmediate(early);
  }
}

/** Loading engine and reader takes tenths of a second, seconds on a machine that has much else to do. */
const coldHoldMs = 5000;

const answers: Readonly<
  Record<RequestKind, (request: HookRequest, options: Answering) => Promise<HookReply>>
> = {
  hook: (request, options) => options.handleHook(request),
  selfTest: async (_request, options) =>
    textReply(
      0,
      `${JSON.stringify({ selfTest: 'ok', waits: options.waits.summary(), ...options.describeSelf?.() })}\n`,
      '',
    ),
  credential: (request, options) => options.handleCredential?.(request) ?? refuseCredential(),
};

async function refuseCredential(): Promise<HookReply> {
  const error = new KontextError(
    'KX_CREDENTIAL_KIND_REFUSED',
    'no credential is handed out over the hook socket',
  );
  return textReply(1, '', `${formatError(error)}\n`);
}
