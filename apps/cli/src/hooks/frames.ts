/**
 * The server's half of the hook socket's frame format: reads requests, writes answers.
 * The format itself is stated on top of `client-frames.ts`.
 */
import {
  type Cursor,
  createCursor,
  FrameError,
  frameVersion,
  type HookReply,
  type HookRequest,
  isVersion,
  keyBytes,
  kindBytes,
  maxHeadBytes,
  maxOutputBytes,
  maxTailBytes,
  type RequestKind,
  typeHold,
  typeReply,
  u32,
} from './client-frames.ts';

export {
  createServerFrameDecoder,
  encodeRequest,
  FrameError,
  type HookReply,
  type HookRequest,
  keyBytes,
  maxHeadBytes,
  type RequestKind,
  type ServerFrame,
} from './client-frames.ts';

const fixedRequestBytes = 2 + keyBytes;

/** Writes a reply. @throws FrameError when an output is over 1 MiB or the code is not 0 to 255. */
export function encodeReply(reply: HookReply): Buffer {
  const { exitCode, stdout, stderr } = reply;
  if (!Number.isInteger(exitCode) || exitCode < 0 || exitCode > 255) throw new FrameError('bad exit code');
  if (stdout.length > maxOutputBytes || stderr.length > maxOutputBytes) {
    throw new FrameError('the output is over 1 MiB');
  }
  return Buffer.concat([
    Buffer.of(frameVersion, typeReply, exitCode),
    u32(stdout.length),
    stdout,
    u32(stderr.length),
    stderr,
  ]);
}

/** Writes a hold frame. @param holdMs Milliseconds from now, 0 to 2³² − 1. */
export function encodeHold(holdMs: number): Buffer {
  return Buffer.concat([Buffer.of(frameVersion, typeHold), u32(holdMs)]);
}

/** Takes bytes as they come. */
export interface RequestDecoder {
  /**
   * Adds bytes.
   *
   * @returns The request once it is complete, else null.
   * @throws FrameError when the bytes cannot become a request, or go on after one.
   */
  push(bytes: Uint8Array): HookRequest | null;
  /** The key as soon as it has arrived, so that a stranger is turned away before anything else is read. */
  readonly key: Uint8Array | null;
}

/** Reads one request. Keeps at most what the caps allow, however slowly or in whatever pieces it comes. */
export function createRequestDecoder(): RequestDecoder {
  const cursor = createCursor();
  let done = false;
  return {
    get key() {
      return cursor.length < fixedRequestBytes ? null : cursor.peek(2, keyBytes);
    },
    push(bytes) {
      if (done) throw new FrameError('bytes after the request');
      cursor.add(bytes);
      const request = readRequest(cursor.restart());
      if (request === null) return null;
      if (cursor.remaining() > 0) throw new FrameError('bytes after the request');
      done = true;
      return request;
    },
  };
}

function readRequest(cursor: Cursor): HookRequest | null {
  if (!isVersion(cursor)) return null;
  const kindByte = cursor.u8();
  if (kindByte === null) return null;
  const kind = (Object.keys(kindBytes) as RequestKind[]).find((name) => kindBytes[name] === kindByte);
  if (kind === undefined) throw new FrameError(`unknown kind ${kindByte}`);
  const key = cursor.bytes(keyBytes);
  const agent = key && cursor.shortText();
  const event = agent === null ? null : cursor.shortText();
  const trueLength = event === null ? null : cursor.u64();
  const head = trueLength === null ? null : cursor.longBytes(maxHeadBytes, 'head');
  const tail = head && cursor.longBytes(maxTailBytes, 'tail');
  if (key === null || agent === null || event === null || trueLength === null) return null;
  if (head === null || tail === null) return null;
  checkLengths(trueLength, head.length, tail.length);
  return { kind, key, agent, event, trueLength, head, tail };
}

/** A true length that contradicts the parts would let a client hide that it clipped. */
function checkLengths(trueLength: number, head: number, tail: number): void {
  if (trueLength < head + tail) throw new FrameError('true length below what was sent');
  if (head < maxHeadBytes && trueLength !== head) throw new FrameError('clipped before 1 MiB');
  if (tail !== Math.min(trueLength - head, maxTailBytes)) throw new FrameError('tail of the wrong length');
}
