import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** What a hook client did. */
export interface ClientRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The bundled hook client, as agents run it. */
export interface TestHookClient {
  readonly path: string;
  /** Runs it to its end. Input of null leaves stdin open until the client has ended. */
  run(
    args: readonly string[],
    input: string | Uint8Array,
    env?: Readonly<Record<string, string>>,
  ): Promise<ClientRun>;
  close(): void;
}

/** Bundles the client the way the build does. */
export async function bundleHookClient(): Promise<TestHookClient> {
  const directory = mkdtempSync(join(tmpdir(), 'kontext-client-'));
  const path = join(directory, 'hook.cjs');
  await build({
    entryPoints: [fileURLToPath(new URL('./client-main.ts', import.meta.url))],
    outfile: path,
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    format: 'cjs',
    minify: true,
  });
  return {
    path,
    run: (args, input, env = {}) => runProcess(process.execPath, [path, ...args], input, env),
    close: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** Whether this machine can compile the native client. */
export const hasCompiler = spawnSync('cc', ['--version'], { stdio: 'ignore' }).status === 0;

/**
 * Compiles the native client, or its fuzzer, the way the build does.
 *
 * @param sanitize With AddressSanitizer and UBSan, which end the program with 99 at the first wrong step.
 */
export function compileHookClient(
  options: { readonly sanitize?: boolean; readonly source?: string } = {},
): TestHookClient {
  const directory = mkdtempSync(join(tmpdir(), 'kontext-native-'));
  const path = join(directory, 'kontext-hook');
  const script = fileURLToPath(new URL('../../../../scripts/build-hook.mjs', import.meta.url));
  const { source, sanitize = false } = options;
  const args = [script, ...(source ? ['--source', source] : []), ...(sanitize ? ['--sanitize'] : []), path];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  const strict = { ASAN_OPTIONS: 'exitcode=99', UBSAN_OPTIONS: 'halt_on_error=1:exitcode=99' };
  return {
    path,
    run: (runArgs, input, env = {}) => runProcess(path, runArgs, input, { ...strict, ...env }),
    close: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/**
 * Whether a 64-bit little-endian ELF program has a PT_INTERP header: only then does a dynamic loader run before it,
 * which is what heeds LD_PRELOAD. A static program may still hold the loader's name, as text of its C library.
 */
export function namesLoader(program: Buffer): boolean {
  const first = Number(program.readBigUInt64LE(0x20));
  const size = program.readUInt16LE(0x36);
  const count = program.readUInt16LE(0x38);
  const starts = Array.from({ length: count }, (_, at) => first + at * size);
  return starts.some((start) => program.readUInt32LE(start) === 3);
}

/** Runs any program with input, collecting what it says. */
export function runProcess(
  command: string,
  args: readonly string[],
  input: string | Uint8Array,
  env: Readonly<Record<string, string>> = {},
): Promise<ClientRun> {
  return new Promise((resolve) => {
    const child: ChildProcess = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env });
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (bytes: Buffer) => {
      stdout += bytes.toString();
    });
    child.stderr?.on('data', (bytes: Buffer) => {
      stderr += bytes.toString();
    });
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}
