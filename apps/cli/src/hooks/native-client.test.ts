import { createHash } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createRequestDecoder, encodeReply } from './frames.ts';
import {
  compileHookClient,
  hasCompiler,
  namesLoader,
  runProcess,
  type TestHookClient,
} from './test-hook-client.ts';
import vectors from './testdata/frames.json' with { type: 'json' };
import { textReply } from './text-reply.ts';

const hex = (text: string): Buffer => Buffer.from(text, 'hex');
const source = fileURLToPath(new URL('../../../hook/src/kontext-hook.c', import.meta.url));

describe.skipIf(!hasCompiler)('native hook client', () => {
  let client: TestHookClient;
  let directory: string;
  let socketPath: string;
  let server: Server | undefined;
  beforeAll(() => {
    client = compileHookClient({ sanitize: true });
  });
  afterAll(() => client?.close());
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'kx-'));
    socketPath = join(directory, 's');
  });
  afterEach(async () => {
    await new Promise((resolve) => (server ? server.close(resolve) : resolve(null)));
    server = undefined;
    rmSync(directory, { recursive: true, force: true });
  });

  const writeKey = (key: Uint8Array): void => {
    rmSync(`${socketPath}.key`, { force: true });
    writeFileSync(`${socketPath}.key`, key, { mode: 0o400 });
  };
  /** Collects the bytes of the one request and answers them with `answer`. */
  const serve = async (answer: (socket: Socket) => void): Promise<() => Buffer> => {
    const pieces: Buffer[] = [];
    server = createServer((socket) => {
      const decoder = createRequestDecoder();
      socket.on('error', () => undefined);
      socket.on('data', (bytes: Buffer) => {
        pieces.push(bytes);
        if (decoder.push(bytes) !== null) answer(socket);
      });
    });
    await new Promise<void>((resolve) => server?.listen(socketPath, resolve));
    return () => Buffer.concat(pieces);
  };
  const args = (agent: string, event: string, pid = process.pid): string[] => [
    ...[agent, event, socketPath, '2', String(pid), '5000'],
  ];
  const good = (socket: Socket): void => void socket.end(encodeReply(textReply(0, 'ok', '')));

  it.each(vectors.requests.filter(({ kind }) => kind !== 'credential'))(
    'sends the bytes of the vector: $name',
    async ({ key, agent, event, head, tail, frame, kind }) => {
      writeKey(hex(key));
      const sent = await serve(good);
      const run = await client.run(args(agent, event), Buffer.concat([hex(head), hex(tail)]));
      expect(run).toEqual({ code: 0, stdout: 'ok', stderr: '' });
      // The kind byte follows from the event: no argument chooses it.
      const expected = hex(frame);
      if (kind === 'selfTest' && event !== 'self-test') expected[1] = 1;
      expect(sent().toString('hex')).toBe(expected.toString('hex'));
    },
  );

  it.each(vectors.clipped)('clips input as the vector says: $name', async (vector) => {
    const { key, agent, event, trueLength, headLength, tailLength } = vector;
    writeKey(hex(key));
    const sent = await serve(good);
    const middle = Buffer.alloc(trueLength - headLength - tailLength, 0x7a);
    const input = Buffer.concat([
      ...[
        Buffer.alloc(headLength, hex(vector.headByte)),
        middle,
        Buffer.alloc(tailLength, hex(vector.tailByte)),
      ],
    ]);
    expect((await client.run(args(agent, event), input)).code).toBe(0);
    expect(createHash('sha256').update(sent()).digest('hex')).toBe(vector.frameSha256);
  });

  it.each(vectors.replies)(
    'gives back the reply of the vector: $name',
    async ({ exitCode, stdout, stderr, frame }) => {
      writeKey(Buffer.alloc(32));
      await serve((socket) => socket.end(hex(frame)));
      const run = await client.run(args('claude', 'PreToolUse'), '{}');
      expect(run).toEqual({ code: exitCode, stdout: hex(stdout).toString(), stderr: hex(stderr).toString() });
    },
  );

  it('takes no answer from another process that listens on the path', async () => {
    writeKey(Buffer.alloc(32));
    let asked = false;
    const sent = await serve((socket) => {
      asked = true;
      good(socket);
    });
    const run = await client.run(args('claude', 'PreToolUse', process.pid + 1), '{}');
    expect(run).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('another process') });
    expect(asked).toBe(false);
    // Not even the key reaches it.
    expect(sent()).toHaveLength(0);
  });

  it('with pid 0 compares the user alone', async () => {
    writeKey(Buffer.alloc(32));
    await serve(good);
    expect(await client.run(args('claude', 'PreToolUse', 0), '{}')).toMatchObject({ code: 0 });
  });

  it.skipIf(process.platform !== 'linux')(
    'waits no longer when the agent blocks the signal of its timer',
    async () => {
      writeKey(Buffer.alloc(32));
      await serve(() => undefined);
      const deaf = ['--block-signal=ALRM', client.path, 'claude', 'PreToolUse', socketPath];

      const run = await runProcess('/usr/bin/env', [...deaf, '2', String(process.pid), '100'], '{}');

      expect(run).toMatchObject({ code: 2, stderr: expect.stringContaining('no answer in time') });
    },
  );

  it('refuses names of more than 255 bytes, and numbers that are none', async () => {
    writeKey(Buffer.alloc(32));
    await serve(good);
    expect(await client.run(args('x'.repeat(256), 'Stop'), '')).toMatchObject({ code: 2 });
    for (const pid of ['', '1x', ' 1', '\t1', '+1', '-1', '99999999999999999999']) {
      const run = await client.run(['claude', 'PreToolUse', socketPath, '2', pid, '1000'], '{}');
      expect(run.code).toBe(2);
    }
  });

  it('whatever the server answers, it ends with that answer or blocks, and reads no byte it should not', async () => {
    const seeds = [...vectors.replies, ...vectors.holds].map(({ frame }) => hex(frame));
    let answer: Buffer = Buffer.alloc(0);
    writeKey(Buffer.alloc(32));
    await serve((socket) => socket.end(answer));
    const mutated = fc
      .tuple(
        fc.constantFrom(...seeds),
        fc.nat(),
        fc.nat(255),
        fc.array(fc.nat(255), { maxLength: 12 }),
        fc.nat(4),
      )
      .map(([seed, at, byte, extra, how]) => mutate(seed, at, byte, Buffer.from(extra), how));
    await fc.assert(
      fc.asyncProperty(mutated, async (bytes) => {
        answer = bytes;
        const run = await client.run(
          ['claude', 'PreToolUse', socketPath, '2', String(process.pid), '300'],
          '{}',
        );
        if (run.code === 99) throw new Error(run.stderr);
        // A reply's own code, or the block.
        expect(run.code === 2 || (bytes[1] ?? 0) === 1 || bytes.length > 6).toBe(true);
        if (run.code === 2 && run.stderr.startsWith('kontext: this call is blocked'))
          expect(run.stdout).toBe('');
      }),
      { numRuns: 150 },
    );
  });

  it('the frame reader survives 300,000 mutated frames under the sanitizers', async () => {
    const fuzzer = compileHookClient({ sanitize: true, source: 'fuzz-frames.c' });
    const seeds = [...vectors.replies, ...vectors.holds, ...vectors.badAnswers].map(({ frame }) => frame);
    const run = await fuzzer.run(['300000'], `${seeds.join('\n')}\n`);
    fuzzer.close();
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(run.stdout).toMatch(/^partial [1-9]\d* hold [1-9]\d* reply [1-9]\d* bad [1-9]\d*\n$/);
  });

  it('reads no environment variable', () => {
    expect(readFileSync(source, 'utf8')).not.toMatch(/\b(getenv|environ|system|popen|exec[lv]p?e?)\b/);
  });

  it.skipIf(process.platform !== 'linux')('loads no library that a project could name', () => {
    const release = compileHookClient();
    const loader = namesLoader(readFileSync(release.path));
    release.close();
    expect(loader).toBe(false);
    // The build under the sanitizers is linked dynamically: the question can be answered with yes.
    expect(namesLoader(readFileSync(client.path))).toBe(true);
  });

  it('uses no key file that others may read', async () => {
    writeKey(Buffer.alloc(32));
    chmodSync(`${socketPath}.key`, 0o440);
    await serve(good);
    expect(await client.run(args('claude', 'PreToolUse'), '{}')).toMatchObject({ code: 2 });
  });
});

function mutate(seed: Buffer, at: number, byte: number, extra: Buffer, how: number): Buffer {
  const bytes = Buffer.from(seed);
  if (how === 0 && bytes.length > 0) bytes[at % bytes.length] = byte;
  if (how === 1) return bytes.subarray(0, at % (bytes.length + 1));
  if (how === 2) return Buffer.concat([bytes, extra]);
  if (how === 3) return Buffer.concat([extra, bytes]);
  return bytes;
}
