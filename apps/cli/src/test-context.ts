import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { loadConfig } from './config.ts';
import type { Context } from './context.ts';
import { createTerminal } from './terminal.ts';

/** A context on scratch directories, with streams a test can read and type into. */
export interface TestContext extends Context {
  readonly home: string;
  stdout(): string;
  stderr(): string;
  type(text: string): void;
  abort(): void;
  close(): void;
}

/** What a test may choose. */
export interface TestContextOptions {
  readonly apiUrl?: string;
  /** Whether standard input and error are terminals. */
  readonly tty?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  /** Piped standard input. */
  readonly stdin?: string;
  /** A home of an earlier context, to go on with its files. */
  readonly home?: string;
}

/** Makes a context. The login is kept in a file, unless `KONTEXT_LOGIN_STORE` says otherwise. */
export function createTestContext(options: TestContextOptions = {}): TestContext {
  const home = options.home ?? mkdtempSync(join(tmpdir(), 'kx-cli-'));
  const env = {
    HOME: home,
    PATH: process.env.PATH ?? '',
    KONTEXT_LOGIN_STORE: 'file',
    KONTEXT_API_URL: options.apiUrl ?? 'http://127.0.0.1:1',
    ...options.env,
  };
  const config = loadConfig({}, env, home);
  const out = collect(false);
  const err = collect(options.tty ?? false);
  const stdin = Object.assign(new PassThrough(), {
    isTTY: options.tty ?? false,
    setRawMode: () => undefined,
  });
  if (options.stdin !== undefined) stdin.end(options.stdin);
  const controller = new AbortController();
  return {
    config,
    terminal: createTerminal({ ...config, color: false }, { stdin, stdout: out.stream, stderr: err.stream }),
    signal: controller.signal,
    releaseSignals: () => undefined,
    home,
    stdout: out.text,
    stderr: err.text,
    type: (text) => stdin.write(text),
    abort: () => controller.abort(),
    close: () => rmSync(home, { recursive: true, force: true }),
  };
}

function collect(isTTY: boolean) {
  let text = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  return { stream: Object.assign(stream, { isTTY }), text: () => text };
}
