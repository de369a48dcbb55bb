import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseHookArguments } from './client.ts';
import { createRequestDecoder, encodeHold, encodeReply, type HookRequest } from './frames.ts';
import { bundleHookClient, compileHookClient, hasCompiler, type TestHookClient } from './test-hook-client.ts';
import { textReply } from './text-reply.ts';

let client: TestHookClient;
let directory: string;
let socketPath: string;
let server: Server | undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kx-'));
  socketPath = join(directory, 's');
  writeFileSync(`${socketPath}.key`, Buffer.alloc(32, 5), { mode: 0o400 });
});
afterEach(async () => {
  await new Promise((resolve) => (server ? server.close(resolve) : resolve(null)));
  server = undefined;
  rmSync(directory, { recursive: true, force: true });
});

/** A scripted server: what it does with each complete request. */
async function serve(script: (socket: Socket, request: HookRequest) => void): Promise<void> {
  server = createServer((socket) => {
    const decoder = createRequestDecoder();
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      const request = decoder.push(bytes);
      if (request !== null) script(socket, request);
    });
  });
  await new Promise<void>((resolve) => server?.listen(socketPath, resolve));
}

const args = (failure: '0' | '2', maxWaitMs = 5000): string[] => [
  'claude',
  'PreToolUse',
  socketPath,
  failure,
  String(process.pid),
  String(maxWaitMs),
];
const missed = (): string =>
  existsSync(`${socketPath}.missed`) ? readFileSync(`${socketPath}.missed`, 'utf8') : '';

describe.each([
  { kind: 'twin', open: bundleHookClient },
  { kind: 'native', open: async () => compileHookClient({ sanitize: true }) },
])('hook client, $kind', ({ kind, open }) => {
  const here = kind === 'twin' || hasCompiler ? it : it.skip;
  beforeAll(async () => {
    if (kind === 'twin' || hasCompiler) client = await open();
  });
  afterAll(() => client.close());

  here('hands stdin and its arguments over and gives the reply back byte for byte', async () => {
    let seen: HookRequest | null = null;
    await serve((socket, request) => {
      seen = request;
      socket.end(encodeReply(textReply(0, '{"a":"é"}', 'said\n')));
    });
    const run = await client.run(args('2'), '{"x":1}');
    expect(run).toEqual({ code: 0, stdout: '{"a":"é"}', stderr: 'said\n' });
    expect(seen).toMatchObject({ kind: 'hook', agent: 'claude', event: 'PreToolUse', trueLength: 7 });
    expect(Buffer.from(seen!.key)).toEqual(Buffer.alloc(32, 5));
  });

  here('asks for a self-test by the event of that name, which the server does not record', async () => {
    let kind = '';
    await serve((socket, request) => {
      kind = request.kind;
      socket.end(encodeReply(textReply(0, 'ok', '')));
    });
    const [agent, , ...rest] = args('2');
    await client.run([agent ?? '', 'self-test', ...rest], '{}');
    expect(kind).toBe('selfTest');
  });

  here('passes exit code 2 and the reason on, with an empty stdout', async () => {
    await serve((socket) => socket.end(encodeReply(textReply(2, '', 'denied by rule x\n'))));
    expect(await client.run(args('0'), '{}')).toEqual({ code: 2, stdout: '', stderr: 'denied by rule x\n' });
  });

  here('sends head, tail and true length of 100 MB without keeping them', async () => {
    let seen: HookRequest | null = null;
    await serve((socket, request) => {
      seen = request;
      socket.end(encodeReply(textReply(0, '', '')));
    });
    const input = Buffer.alloc(100_000_000, 'x');
    input.write('the end', input.length - 7);
    const run = await client.run(args('2'), input);
    expect(run.code).toBe(0);
    expect(seen).toMatchObject({ trueLength: 100_000_000 });
    expect(seen!.head.length).toBe(1_048_576);
    expect(Buffer.from(seen!.tail).toString().endsWith('the end')).toBe(true);
    expect(seen!.tail.length).toBe(4096);
  });

  here('sends an empty stdin as it is', async () => {
    let length = -1;
    await serve((socket, request) => {
      length = request.trueLength;
      socket.end(encodeReply(textReply(0, '', '')));
    });
    expect((await client.run(args('2'), '')).code).toBe(0);
    expect(length).toBe(0);
  });

  here('waits beyond its first deadline while the server holds', async () => {
    await serve((socket) => {
      socket.write(encodeHold(4000));
      setTimeout(() => socket.end(encodeReply(textReply(0, 'late', ''))), 2000);
    });
    expect(await client.run(args('2'), '{}')).toMatchObject({ code: 0, stdout: 'late' });
  });

  here('never waits longer than its longest wait, whatever the server holds for', async () => {
    await serve((socket) => {
      socket.write(encodeHold(600_000));
    });
    const run = await client.run(args('2', 300), '{}');
    expect(run).toMatchObject({ code: 2, stdout: '' });
    expect(run.stderr).toContain('no answer in time');
  });

  here.each([
    ['a server that never answers', () => undefined],
    ['a server that closes at once', (socket: Socket) => socket.destroy()],
    ['a truncated reply', (socket: Socket) => socket.end(Buffer.of(1, 1, 0, 0, 0))],
    ['garbage', (socket: Socket) => socket.end('HTTP/1.1 200 OK\r\n\r\n')],
    [
      'bytes after the reply',
      (socket: Socket) => socket.end(Buffer.concat([encodeReply(textReply(0, '', '')), Buffer.of(9)])),
    ],
    ['another version', (socket: Socket) => socket.end(Buffer.of(2, 1, 0))],
  ])('blocks on %s when its arguments say 2, else goes on and leaves a line', async (_name, script) => {
    await serve(script as (socket: Socket) => void);
    const closed = await client.run(args('2'), '{}');
    expect(closed.code).toBe(2);
    expect(closed.stdout).toBe('');
    expect(closed.stderr).toMatch(/^kontext: this call is blocked/);
    expect(missed()).toBe('');

    const open = await client.run(args('0'), '{}');
    expect(open).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(missed()).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z claude PreToolUse \S.*\n$/);
  });

  here('gives the failure answer when nobody listens', async () => {
    expect(await client.run(args('2'), '{}')).toMatchObject({ code: 2, stdout: '' });
    expect(await client.run(args('0'), '{}')).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  here.each([
    ['readable by others', () => chmodSync(`${socketPath}.key`, 0o444)],
    ['short', () => replaceKey(Buffer.alloc(31))],
    ['long', () => replaceKey(Buffer.alloc(33))],
    [
      'a link',
      () => {
        rmSync(`${socketPath}.key`);
        writeFileSync(join(directory, 'elsewhere'), Buffer.alloc(32, 5), { mode: 0o400 });
        symlinkSync(join(directory, 'elsewhere'), `${socketPath}.key`);
      },
    ],
    ['missing', () => rmSync(`${socketPath}.key`)],
  ])('does not use a key file that is %s', async (_name, spoil) => {
    let asked = false;
    await serve((socket) => {
      asked = true;
      socket.end(encodeReply(textReply(0, '', '')));
    });
    spoil();
    expect(await client.run(args('2'), '{}')).toMatchObject({ code: 2, stdout: '' });
    expect(asked).toBe(false);
  });

  here('does not follow a link in the place of the socket', async () => {
    await serve((socket) => socket.end(encodeReply(textReply(0, '', ''))));
    const link = join(directory, 'link');
    symlinkSync(socketPath, link);
    writeFileSync(`${link}.key`, Buffer.alloc(32, 5), { mode: 0o400 });
    const run = await client.run(['claude', 'PreToolUse', link, '2', String(process.pid), '1000'], '{}');
    expect(run).toMatchObject({ code: 2, stderr: expect.stringContaining('not ours') });
  });

  here('finds the socket of its own user where the path says %u', async () => {
    const uid = String(process.geteuid?.());
    await serve((socket) => socket.end(encodeReply(textReply(0, 'found', ''))));
    renameSync(socketPath, join(directory, `s${uid}x`));
    renameSync(`${socketPath}.key`, join(directory, `s${uid}x.key`));
    const run = await client.run(['claude', 'Stop', join(directory, 's%ux'), '2', '0', '1000'], '{}');
    expect(run).toEqual({ code: 0, stdout: 'found', stderr: '' });
    await client.run(['claude', 'Stop', join(directory, 'gone%ux'), '0', '0', '1000'], '{}');
    expect(readFileSync(join(directory, `gone${uid}x.missed`), 'utf8')).toContain(' claude Stop ');
  });

  here('names the next step of whoever wrote the settings', async () => {
    const next = async (pid: string): Promise<string> =>
      (await client.run(['claude', 'PreToolUse', socketPath, '2', pid, '1000'], '{}')).stderr;
    expect(await next('0')).toContain('kontext doctor --hook');
    expect(await next('7')).toContain('run `kontext start` again');
  });

  here('is silent without a session', async () => {
    expect(await client.run([], '{}')).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await client.run(['claude', 'PreToolUse', '', '2', '1', '1'], '{}')).toMatchObject({ code: 0 });
  });

  here('keeps its failure answer when another argument is wrong', async () => {
    expect(await client.run(['claude', 'PreToolUse', socketPath, '2', 'x', 'y'], '{}')).toMatchObject({
      code: 2,
    });
    expect(await client.run(['claude', 'PreToolUse', socketPath, '0', '1', '-5'], '{}')).toMatchObject({
      code: 0,
    });
    expect(await client.run(['claude', 'PreToolUse', socketPath, '2'], '{}')).toMatchObject({ code: 2 });
  });
});

describe('the twin as bundled', () => {
  let text: string;
  beforeAll(async () => {
    const twin = await bundleHookClient();
    text = readFileSync(twin.path, 'utf8');
    twin.close();
  });

  it('reads no environment variable', () => {
    expect(text).not.toContain('process.env');
  });

  it('loads nothing but file system and sockets', () => {
    const loaded = [...text.matchAll(/require\("([^"]+)"\)/g)].map(([, name]) => name);
    expect(loaded.sort()).toEqual(['node:fs', 'node:net']);
  });
});

function replaceKey(bytes: Buffer): void {
  rmSync(`${socketPath}.key`);
  writeFileSync(`${socketPath}.key`, bytes, { mode: 0o400 });
}

describe('hook arguments', () => {
  it('are read in their order', () => {
    expect(parseHookArguments(['claude', 'Stop', '/run/s', '0', '42', '1500'])).toEqual({
      agent: 'claude',
      event: 'Stop',
      socketPath: '/run/s',
      failureExit: 0,
      serverPid: 42,
      maxWaitMs: 1500,
    });
  });

  it.each([
    [['', 'Stop', '/s', '0', '1', '1']],
    [['claude', '', '/s', '0', '1', '1']],
    [['claude', 'Stop', '/s', '1', '1', '1']],
    [['claude', 'Stop', '/s', '2', '-1', '1']],
    [['claude', 'Stop', '/s', '2', '1', '0']],
    [['claude', 'Stop', '/s', '2', '1', '1', 'more']],
  ])('are refused when wrong: %j', (wrong) => {
    expect(() => parseHookArguments(wrong)).toThrow();
  });
});
