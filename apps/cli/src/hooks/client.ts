/**
 * The hook client, TypeScript twin of the native one: stdin to the socket, the reply to stdout and exit code.
 *
 * Rules:
 * - Imports two built-ins and the frame format, nothing else: it runs on every tool call.
 * - Everything it needs stands in its arguments. It reads no environment variable, because a repository's settings
 *   could set one, and never parses the input.
 * - Whatever goes wrong ends in the failure answer of its arguments: exit 2 with a reason on stderr where a
 *   failure must block, else a silent 0 and one line in `<socket>.missed`.
 * - It cannot see the peer's process id or user, as the native client does. It checks that socket and key belong to
 *   this user; an impostor of the same user who knows the key is not told apart.
 * - `%u` in the path of the socket is the id of our user, so that one text of managed settings serves everybody.
 */
import fs from 'node:fs';
import net from 'node:net';
import {
  createServerFrameDecoder,
  encodeRequest,
  type HookReply,
  maxHeadBytes,
  maxTailBytes,
} from './client-frames.ts';

/** What the agent's settings tell the client, in the order of its arguments. */
export interface HookArguments {
  readonly agent: string;
  readonly event: string;
  readonly socketPath: string;
  /** Exit code when no valid reply comes: 2 blocks the call, 0 lets it go on. */
  readonly failureExit: 0 | 2;
  /** Process id of the hook server; the native client compares it with the peer's. 0: the daemon, compared by its user. */
  readonly serverPid: number;
  /** Longest time to wait for a reply, whatever the server holds for. */
  readonly maxWaitMs: number;
}

/** Stdin, read without keeping more than head and tail. */
export interface ClippedInput {
  readonly head: Buffer;
  readonly tail: Buffer;
  readonly trueLength: number;
}

/** Event name that asks whether the way to the server works; it is answered and not recorded. */
const selfTestEvent = 'self-test';
const firstDeadlineMs = 1500;
/** The daemon opens sessions beside others, which may keep it from saying that it works on it. */
export const daemonDeadlineMs = 5000;
const chunkBytes = 65_536;

/**
 * Reads the arguments `<agent> <event> <socket> <failure exit> <server pid> <max wait ms>`.
 *
 * @throws Error in plain words when one of them cannot be used.
 */
export function parseHookArguments(args: readonly string[]): HookArguments {
  const [agent = '', event = '', path = '', failure = '', pid = '', wait = ''] = args;
  const socketPath = withUser(path);
  const serverPid = Number(pid);
  const maxWaitMs = Number(wait);
  if (args.length !== 6 || agent === '' || event === '') throw new Error('the hook was called wrongly');
  if (failure !== '0' && failure !== '2') throw new Error('the failure exit is neither 0 nor 2');
  if (!Number.isSafeInteger(serverPid) || serverPid < 0) throw new Error('the server pid is not a number');
  if (!Number.isSafeInteger(maxWaitMs) || maxWaitMs < 1) throw new Error('the longest wait is not a number');
  return { agent, event, socketPath, failureExit: failure === '2' ? 2 : 0, serverPid, maxWaitMs };
}

const withUser = (path: string): string => path.replace('%u', String(process.geteuid?.() ?? ''));

/** Reads a descriptor to its end: the first 1 MiB, the last 4 KiB of what follows, and the true length. */
export function readClipped(descriptor: number): ClippedInput {
  const chunk = Buffer.allocUnsafe(chunkBytes);
  const pieces: Buffer[] = [];
  let headLength = 0;
  let tail = Buffer.alloc(0);
  let trueLength = 0;
  for (;;) {
    const count = readSome(descriptor, chunk);
    if (count === 0) break;
    trueLength += count;
    const headCount = Math.min(count, maxHeadBytes - headLength);
    if (headCount > 0) pieces.push(Buffer.from(chunk.subarray(0, headCount)));
    headLength += headCount;
    if (headCount < count) {
      tail = Buffer.concat([tail, chunk.subarray(headCount, count)]).subarray(-maxTailBytes);
    }
  }
  return { head: Buffer.concat(pieces), tail, trueLength };
}

/** Agents hand stdin over as a socket that may be non-blocking: then wait a millisecond at a time. */
function readSome(descriptor: number, chunk: Buffer): number {
  for (;;) {
    try {
      return fs.readSync(descriptor, chunk, 0, chunk.length, null);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EOF') return 0;
      if (code !== 'EAGAIN' && code !== 'EINTR') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

/**
 * Reads the session's key from `<socket>.key`.
 *
 * @throws Error when the file is not ours alone, is a link, or does not hold 32 bytes.
 */
export function readKeyFile(socketPath: string): Buffer {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
  const descriptor = fs.openSync(`${socketPath}.key`, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const stat = fs.fstatSync(descriptor);
    const uid = process.getuid?.() ?? stat.uid;
    if (!stat.isFile() || stat.uid !== uid || (stat.mode & 0o377) !== 0) {
      throw new Error('the key file is open to others');
    }
    const key = Buffer.alloc(33);
    if (fs.readSync(descriptor, key, 0, 33, 0) !== 32) throw new Error('the key file does not hold a key');
    return key.subarray(0, 32);
  } finally {
    fs.closeSync(descriptor);
  }
}

/**
 * Sends one request and waits for the reply.
 *
 * The first answer must begin within `firstMs`, default 1.5 s; each hold frame moves that deadline, never beyond `maxWaitMs`.
 *
 * @param done Called once, with the reply, or with the reason there is none.
 */
export function askServer(
  socketPath: string,
  request: Buffer,
  maxWaitMs: number,
  done: (reply: HookReply | null, reason: string) => void,
  firstMs = firstDeadlineMs,
): void {
  const startedMs = monotonicMs();
  const decoder = createServerFrameDecoder();
  let finished = false;
  let timer: NodeJS.Timeout;
  const socket = net.connect({ path: socketPath });
  const finish = (reply: HookReply | null, reason = ''): void => {
    if (finished) return;
    finished = true;
    clearTimeout(timer);
    done(reply, reason);
    // After `done`, which ends the process: closing the stream first would cost every tool call half a millisecond.
    socket.destroy();
  };
  const waitFor = (ms: number): void => {
    clearTimeout(timer);
    const leftMs = maxWaitMs - (monotonicMs() - startedMs);
    timer = setTimeout(() => finish(null, 'no answer in time'), Math.max(0, Math.min(ms, leftMs)));
  };
  waitFor(firstMs);
  socket.on('data', (bytes) => {
    try {
      for (const frame of decoder.push(bytes)) {
        if (frame.type === 'reply') finish(frame);
        else waitFor(frame.holdMs);
      }
    } catch (error) {
      finish(null, error instanceof Error ? error.message : 'garbage from the hook server');
    }
  });
  socket.on('error', (error: NodeJS.ErrnoException) => finish(null, error.code ?? 'socket error'));
  socket.on('close', () => finish(null, 'connection closed without an answer'));
  socket.write(request);
}

/** `performance` would load a module for it, on every tool call. */
const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

/** @throws Error when the path is not a socket of this user; a link to one is refused too. */
export function checkSocketOwner(socketPath: string): void {
  const stat = fs.lstatSync(socketPath);
  const uid = process.getuid?.() ?? stat.uid;
  if (!stat.isSocket() || stat.uid !== uid) throw new Error('the socket is not ours');
}

/**
 * Reads everything, asks, answers. Ends the process in every case.
 *
 * Without a socket among the arguments there is no session: it exits 0 in silence, so that a forgotten hook entry
 * disturbs nobody.
 */
export function runHookClient(args: readonly string[]): void {
  if ((args[2] ?? '') === '') process.exit(0);
  const fail = (reason: string): void => answerFailure(args, reason);
  process.on('uncaughtException', (error) => fail(error.message));
  try {
    const { agent, event, socketPath, serverPid, maxWaitMs } = parseHookArguments(args);
    checkSocketOwner(socketPath);
    const key = readKeyFile(socketPath);
    const kind = event === selfTestEvent ? 'selfTest' : 'hook';
    const request = encodeRequest({ kind, key, agent, event, ...readClipped(0) });
    const done = (reply: HookReply | null, reason: string): void => {
      if (reply === null) fail(reason);
      else answer(reply.exitCode, reply.stdout, reply.stderr);
    };
    askServer(socketPath, request, maxWaitMs, done, serverPid === 0 ? daemonDeadlineMs : firstDeadlineMs);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    fail(code === undefined ? message : code);
  }
}

/** The failure exit is read first and alone, so that it holds even when another argument is wrong. */
function answerFailure(args: readonly string[], reason: string): void {
  const [agent = '', event = '', socketPath = '', failure = '', pid = ''] = args;
  if (failure === '2') {
    const next = pid.startsWith('0')
      ? 'start the agent again; `kontext doctor --hook` says what is wrong'
      : 'end the agent and run `kontext start` again';
    const text = `kontext: this call is blocked, because it could not be checked (${reason}); ${next}\n`;
    answer(2, new Uint8Array(), Buffer.from(text));
    return;
  }
  noteMissed(withUser(socketPath), `${new Date().toISOString()} ${agent} ${event} ${reason}`);
  answer(0, new Uint8Array(), new Uint8Array());
}

function noteMissed(socketPath: string, line: string): void {
  const { O_WRONLY, O_APPEND, O_CREAT, O_NOFOLLOW } = fs.constants;
  try {
    const file = fs.openSync(`${socketPath}.missed`, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0o600);
    fs.writeSync(file, `${line.replaceAll(/[\r\n]/g, ' ')}\n`);
  } catch {
    // The directory is gone with the session; there is nowhere left to say it.
  }
}

function answer(exitCode: number, stdout: Uint8Array, stderr: Uint8Array): void {
  writeAll(2, stderr);
  writeAll(1, stdout);
  process.exit(exitCode);
}

/** One write where the system takes it in one; an agent that has gone away is no failure. */
function writeAll(descriptor: number, bytes: Uint8Array): void {
  let offset = 0;
  while (offset < bytes.length) {
    try {
      offset += fs.writeSync(descriptor, bytes, offset);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return;
    }
  }
}
