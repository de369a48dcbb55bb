/**
 * The hook socket's frame format, version 1. The native client speaks the same bytes; `testdata/frames.json` holds
 * the vectors both run. All integers are big-endian.
 *
 * Request, one per connection:
 *   u8 version = 1 · u8 kind · 32 bytes key · u8 n, agent · u8 n, event · u64 true length of stdin ·
 *   u32 n, head (first bytes of stdin, at most 1 MiB) · u32 n, tail (the last bytes of what follows the head, at
 *   most 4 KiB; empty when everything fits in the head)
 * Answer, any number of hold frames and then one reply, which ends the connection:
 *   u8 version = 1 · u8 type = 2 · u32 milliseconds by which the client may wait longer, from now
 *   u8 version = 1 · u8 type = 1 · u8 exit code · u32 n, stdout · u32 n, stderr
 *
 * This file is the client's half and what both halves share; `frames.ts` is the server's. It imports nothing,
 * because the hook client carries it into every tool call.
 */

/** Version byte both sides send first. */
export const frameVersion = 1;
/** Most bytes of stdin that travel from its beginning. */
export const maxHeadBytes = 1_048_576;
/** Most bytes of stdin that travel from its end. */
export const maxTailBytes = 4096;
/** Most bytes of stdout or stderr a reply may carry. */
export const maxOutputBytes = 1_048_576;
/** Length of the per-session key. */
export const keyBytes = 32;

/** The kind byte of each request kind. */
export const kindBytes = { hook: 1, credential: 2, selfTest: 3 } as const;
/** Type byte of a reply. */
export const typeReply = 1;
/** Type byte of a hold frame. */
export const typeHold = 2;

/** What a connection asks for. */
export type RequestKind = keyof typeof kindBytes;

/** One request of the hook client. */
export interface HookRequest {
  readonly kind: RequestKind;
  /** 32 bytes; compared by the server, in constant time. */
  readonly key: Uint8Array;
  /** At most 255 bytes of UTF-8. */
  readonly agent: string;
  /** The agent's own name of the event, at most 255 bytes of UTF-8. */
  readonly event: string;
  /** Length of the whole stdin in bytes; more than head and tail hold when it was clipped. */
  readonly trueLength: number;
  readonly head: Uint8Array;
  readonly tail: Uint8Array;
}

/** What the client does: write both outputs, exit with the code. */
export interface HookReply {
  readonly exitCode: number;
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
}

/** A frame from the server. */
export type ServerFrame =
  | { readonly type: 'hold'; readonly holdMs: number }
  | ({ readonly type: 'reply' } & HookReply);

/** The other side does not speak the format. The message says how, in words fit for a log. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

/**
 * Writes a request.
 *
 * @throws FrameError when a part is longer than its length field or its cap allows.
 */
export function encodeRequest(request: HookRequest): Buffer {
  if (request.key.length !== keyBytes) throw new FrameError('the key is not 32 bytes');
  if (request.head.length > maxHeadBytes) throw new FrameError('the head is over 1 MiB');
  if (request.tail.length > maxTailBytes) throw new FrameError('the tail is over 4 KiB');
  const trueLength = Buffer.alloc(8);
  trueLength.writeBigUInt64BE(BigInt(request.trueLength));
  return Buffer.concat([
    Buffer.of(frameVersion, kindBytes[request.kind]),
    request.key,
    shortText(request.agent),
    shortText(request.event),
    trueLength,
    u32(request.head.length),
    request.head,
    u32(request.tail.length),
    request.tail,
  ]);
}

/** Reads the frames of the server. */
export interface ServerFrameDecoder {
  /** @returns Complete frames, in order. @throws FrameError when the bytes are not frames, or follow a reply. */
  push(bytes: Uint8Array): ServerFrame[];
}

/** Reads hold frames and the reply; the client's half. */
export function createServerFrameDecoder(): ServerFrameDecoder {
  const cursor = createCursor();
  let replied = false;
  return {
    push(bytes) {
      cursor.add(bytes);
      const frames: ServerFrame[] = [];
      while (cursor.length > 0) {
        if (replied) throw new FrameError('bytes after the reply');
        const frame = readServerFrame(cursor.restart());
        if (frame === null) break;
        cursor.drop();
        replied = frame.type === 'reply';
        frames.push(frame);
      }
      return frames;
    },
  };
}

function readServerFrame(cursor: Cursor): ServerFrame | null {
  if (!isVersion(cursor)) return null;
  const type = cursor.u8();
  if (type === null) return null;
  if (type === typeHold) {
    const holdMs = cursor.u32();
    return holdMs === null ? null : { type: 'hold', holdMs };
  }
  if (type !== typeReply) throw new FrameError(`unknown frame type ${type}`);
  const exitCode = cursor.u8();
  const stdout = exitCode === null ? null : cursor.longBytes(maxOutputBytes, 'stdout');
  const stderr = stdout && cursor.longBytes(maxOutputBytes, 'stderr');
  if (exitCode === null || stdout === null || stderr === null) return null;
  return { type: 'reply', exitCode, stdout, stderr };
}

/** Whether the version byte is there. @throws FrameError when it is another version. */
export function isVersion(cursor: Cursor): boolean {
  const version = cursor.u8();
  if (version !== null && version !== frameVersion) throw new FrameError(`unknown version ${version}`);
  return version !== null;
}

/** See {@link createCursor}. */
export type Cursor = ReturnType<typeof createCursor>;

/** Bytes that arrived, read from the start again at every push; null from a reader means "not here yet". */
export function createCursor() {
  let buffer = Buffer.alloc(0);
  let length = 0;
  let offset = 0;
  const take = (count: number): Buffer | null => {
    if (offset + count > length) return null;
    offset += count;
    return buffer.subarray(offset - count, offset);
  };
  const cursor = {
    get length() {
      return length;
    },
    remaining: () => length - offset,
    peek: (at: number, count: number): Buffer => buffer.subarray(at, at + count),
    add(bytes: Uint8Array) {
      if (length + bytes.length > buffer.length) {
        const grown = Buffer.alloc(Math.max(length + bytes.length, 2 * buffer.length));
        buffer.copy(grown, 0, 0, length);
        buffer = grown;
      }
      buffer.set(bytes, length);
      length += bytes.length;
    },
    restart() {
      offset = 0;
      return cursor;
    },
    /** Forgets what has been read. */
    drop() {
      buffer = Buffer.from(buffer.subarray(offset, length));
      length = buffer.length;
      offset = 0;
    },
    u8: (): number | null => take(1)?.readUInt8() ?? null,
    u32: (): number | null => take(4)?.readUInt32BE() ?? null,
    u64(): number | null {
      const value = take(8)?.readBigUInt64BE();
      if (value === undefined) return null;
      if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new FrameError('true length out of range');
      return Number(value);
    },
    bytes: take,
    shortText(): string | null {
      const count = cursor.u8();
      const bytes = count === null ? null : take(count);
      return bytes === null ? null : utf8(bytes);
    },
    longBytes(cap: number, name: string): Buffer | null {
      const count = cursor.u32();
      if (count !== null && count > cap) throw new FrameError(`${name} over its cap`);
      return count === null ? null : take(count);
    },
  };
  return cursor;
}

function utf8(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  // A round trip is cheaper to load than a fatal TextDecoder, and the texts are at most 255 bytes.
  if (!Buffer.from(text, 'utf8').equals(bytes)) throw new FrameError('a name is not UTF-8');
  return text;
}

function shortText(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length > 255) throw new FrameError('a name is over 255 bytes');
  return Buffer.concat([Buffer.of(bytes.length), bytes]);
}

/** Four bytes, big-endian. */
export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
