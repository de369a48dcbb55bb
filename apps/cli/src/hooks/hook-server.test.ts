import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createServerFrameDecoder, encodeRequest, type ServerFrame } from './frames.ts';
import { createHookServer, type HookServer, type HookServerOptions } from './hook-server.ts';
import { textReply } from './text-reply.ts';

let root: string;
let server: HookServer | undefined;
const sockets: Socket[] = [];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'kxs-'));
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await server?.close();
  server = undefined;
  rmSync(root, { recursive: true, force: true });
});

async function start(options: Partial<HookServerOptions> = {}): Promise<HookServer> {
  server = await createHookServer({
    runtimeDir: join(root, 'run'),
    handleHook: async (request) => textReply(0, `${request.event} ${request.trueLength}`, ''),
    onFailure: () => textReply(2, '', 'failed'),
    ...options,
  });
  return server;
}

const keyOf = ({ socketPath }: HookServer): Buffer => readFileSync(`${socketPath}.key`);

function requestBytes(
  key: Uint8Array,
  kind: 'hook' | 'credential' | 'selfTest' = 'hook',
  body = '{}',
): Buffer {
  const head = Buffer.from(body);
  return encodeRequest({
    kind,
    key,
    agent: 'claude',
    event: 'Stop',
    trueLength: head.length,
    head,
    tail: new Uint8Array(),
  });
}

/** Connects and sends pieces; resolves with the frames that came until the server closed. */
function exchange(path: string, ...pieces: Uint8Array[]): Promise<ServerFrame[]> {
  return new Promise((resolve) => {
    const frames: ServerFrame[] = [];
    const decoder = createServerFrameDecoder();
    const socket = connect(path);
    sockets.push(socket);
    socket.on('data', (bytes) => frames.push(...decoder.push(bytes)));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(frames));
    for (const piece of pieces) socket.write(piece);
  });
}

const textOf = (frames: readonly ServerFrame[]): string | null => {
  const reply = frames.at(-1);
  return reply?.type === 'reply' ? `${reply.exitCode}:${reply.stdout}:${reply.stderr}` : null;
};

describe('hook server', () => {
  it('answers one request per connection', async () => {
    const hooks = await start();
    expect(textOf(await exchange(hooks.socketPath, requestBytes(keyOf(hooks))))).toBe('0:Stop 2:');
  });

  it('keeps directory, key and settings to this user', async () => {
    const hooks = await start();
    const modeOf = (path: string): number => statSync(path).mode & 0o777;
    expect([modeOf(join(root, 'run')), modeOf(hooks.directory), modeOf(`${hooks.socketPath}.key`)]).toEqual([
      0o700, 0o700, 0o400,
    ]);
    expect(keyOf(hooks).length).toBe(32);
  });

  it('removes everything of the session when it closes', async () => {
    const hooks = await start();
    await hooks.close();
    server = undefined;
    expect(readdirSync(join(root, 'run'))).toEqual([]);
  });

  it('cuts off a wrong key before the rest of the request is there', async () => {
    const hooks = await start();
    const wrong = requestBytes(Buffer.alloc(32, 9)).subarray(0, 34);
    expect(await exchange(hooks.socketPath, wrong)).toEqual([]);
  });

  it.each([
    ['another version', Buffer.of(9, 1)],
    ['text', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ])('cuts off %s', async (_name, bytes) => {
    expect(await exchange((await start()).socketPath, bytes)).toEqual([]);
  });

  it('cuts off bytes after a request', async () => {
    const hooks = await start({ handleHook: () => new Promise(() => undefined) });
    expect(await exchange(hooks.socketPath, requestBytes(keyOf(hooks)), Buffer.from('more'))).toEqual([]);
  });

  it('cuts off a sender that does not finish in time', async () => {
    const hooks = await start({ requestDeadlineMs: 100 });
    const bytes = requestBytes(keyOf(hooks));
    expect(await exchange(hooks.socketPath, bytes.subarray(0, bytes.length - 1))).toEqual([]);
  });

  it('answers a request that came in time, however long the server was busy with another one', async () => {
    const hooks = await start({ requestDeadlineMs: 20 });
    const bytes = requestBytes(keyOf(hooks));
    const socket = connect(hooks.socketPath);
    sockets.push(socket);
    await once(socket, 'connect');
    await new Promise((resolve) => setImmediate(resolve));
    socket.write(bytes);
    for (const busyUntil = Date.now() + 60; Date.now() < busyUntil; );
    const [answer] = await Promise.race([once(socket, 'data'), once(socket, 'close')]);
    expect(String(answer)).toContain('Stop 2');
  });

  it('reads a request that comes byte by byte', async () => {
    const hooks = await start();
    const bytes = requestBytes(keyOf(hooks));
    const pieces = Array.from(bytes, (byte) => Buffer.of(byte));
    expect(textOf(await exchange(hooks.socketPath, ...pieces))).toBe('0:Stop 2:');
  });

  it('answers a client that has shut its writing half', async () => {
    const hooks = await start({
      handleHook: () => new Promise((resolve) => setTimeout(() => resolve(textReply(0, 'yes', '')), 50)),
    });
    const frames = await new Promise<ServerFrame[]>((resolve) => {
      const decoder = createServerFrameDecoder();
      const seen: ServerFrame[] = [];
      const socket = connect({ path: hooks.socketPath, allowHalfOpen: true });
      socket.on('data', (bytes) => seen.push(...decoder.push(bytes)));
      socket.on('end', () => resolve(seen));
      socket.end(requestBytes(keyOf(hooks)));
    });
    expect(textOf(frames)).toBe('0:yes:');
  });

  it('holds the client while the handler works', async () => {
    const hooks = await start({
      holdEveryMs: 20,
      handleHook: () => new Promise((resolve) => setTimeout(() => resolve(textReply(0, 'done', '')), 150)),
    });
    const frames = await exchange(hooks.socketPath, requestBytes(keyOf(hooks)));
    // The first leaves time for what is loaded once, while which no timer runs.
    expect(frames[0]).toEqual({ type: 'hold', holdMs: 5000 });
    expect(frames[1]).toEqual({ type: 'hold', holdMs: 80 });
    expect(textOf(frames)).toBe('0:done:');
  });

  it('holds nobody whom it answers at once', async () => {
    const hooks = await start({ handleHook: async () => textReply(0, 'done', '') });
    const frames = await exchange(hooks.socketPath, requestBytes(keyOf(hooks)));
    expect(frames.map(({ type }) => type)).toEqual(['reply']);
  });

  it('gives the failure answer when the handler throws', async () => {
    const hooks = await start({
      handleHook: async () => {
        throw new Error('broken');
      },
    });
    expect(textOf(await exchange(hooks.socketPath, requestBytes(keyOf(hooks))))).toBe('2::failed');
  });

  it('survives a handler that answers with nonsense', async () => {
    const hooks = await start({ handleHook: async () => ({ ...textReply(0, '', ''), exitCode: 999 }) });
    expect(await exchange(hooks.socketPath, requestBytes(keyOf(hooks)))).toEqual([]);
    expect(await exchange(hooks.socketPath, requestBytes(keyOf(hooks)))).toEqual([]);
  });

  it('answers a self-test without asking the handler', async () => {
    const hooks = await start({ handleHook: () => Promise.reject(new Error('asked')) });
    expect(textOf(await exchange(hooks.socketPath, requestBytes(keyOf(hooks), 'selfTest')))).toContain(
      '"selfTest":"ok"',
    );
  });

  it('refuses to hand out a credential, with a code', async () => {
    const hooks = await start();
    const text = textOf(await exchange(hooks.socketPath, requestBytes(keyOf(hooks), 'credential')));
    expect(text).toMatch(/^1::.*KX_CREDENTIAL_KIND_REFUSED/s);
  });

  it('lets a good client in while idle connections fill the server', async () => {
    const hooks = await start({ maxConnections: 5, requestDeadlineMs: 60_000 });
    for (let index = 0; index < 50; index += 1) void exchange(hooks.socketPath, Buffer.of(1));
    expect(textOf(await exchange(hooks.socketPath, requestBytes(keyOf(hooks))))).toBe('0:Stop 2:');
  });

  it('answers many clients at once', async () => {
    const hooks = await start();
    const key = keyOf(hooks);
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        exchange(hooks.socketPath, requestBytes(key, 'hook', 'x'.repeat(index))).then(textOf),
      ),
    );
    expect(answers).toEqual(Array.from({ length: 100 }, (_, index) => `0:Stop ${index}:`));
  });

  it('refuses a runtime directory that is a link', async () => {
    symlinkSync(tmpdir(), join(root, 'run'));
    await expect(start()).rejects.toMatchObject({ code: 'KX_SOCKET_FAILED', why: 'it is a symbolic link' });
  });

  it('closes an open runtime directory to others', async () => {
    const { mkdirSync, chmodSync } = await import('node:fs');
    mkdirSync(join(root, 'run'));
    chmodSync(join(root, 'run'), 0o777);
    await start();
    expect(statSync(join(root, 'run')).mode & 0o777).toBe(0o700);
  });

  it('refuses a path that is too long for a socket, and leaves nothing behind', async () => {
    const runtimeDir = join(root, 'x'.repeat(100));
    await expect(start({ runtimeDir })).rejects.toMatchObject({ code: 'KX_SOCKET_FAILED' });
    expect(readdirSync(runtimeDir)).toEqual([]);
  });
});
