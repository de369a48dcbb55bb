import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CommandResult, runCommand } from '@kontext/testkit';
import { build } from 'esbuild';
import { createTestContext, type TestContext } from './test-context.ts';

/** The whole command as a process, as a person runs it. */
export interface TestProgram {
  /** Path of the built entry, for tests that spawn it themselves. */
  readonly path: string;
  /** Runs it in a context's home; the environment is that of the context. */
  run(context: TestContext, args: readonly string[], options?: RunOptions): Promise<CommandResult>;
  close(): void;
}

/** What a run may differ in. */
export interface RunOptions {
  readonly stdin?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Bundles the command under `node_modules/.cache`, from where bare imports still resolve.
 *
 * @param version What it says its version is; default that of a command run from source.
 */
export async function buildTestProgram(version?: string): Promise<TestProgram> {
  const cache = fileURLToPath(new URL('../../../node_modules/.cache/kontext/', import.meta.url));
  const outdir = join(cache, `cli-${process.pid}${version === undefined ? '' : `-${version}`}`);
  mkdirSync(outdir, { recursive: true });
  await build({
    entryPoints: { main: fileURLToPath(new URL('main.ts', import.meta.url)) },
    outdir,
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: ['@napi-rs/keyring', '@cedar-policy/cedar-wasm'],
    logLevel: 'silent',
    ...(version === undefined ? {} : { define: { __KONTEXT_VERSION__: JSON.stringify(version) } }),
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module';const require = __createRequire(import.meta.url);",
    },
  });
  writeFileSync(join(outdir, 'package.json'), '{ "type": "module" }\n');
  const path = join(outdir, 'main.js');
  return {
    path,
    run: (context, args, options = {}) =>
      runCommand(process.execPath, [path, ...args], {
        cwd: context.home,
        env: { ...context.config.environment, ...options.env },
        stdin: options.stdin ?? '',
      }),
    close: () => rmSync(outdir, { recursive: true, force: true }),
  };
}

/** A context whose program runs against a backend, already logged in. */
export async function createLoggedInContext(apiUrl: string): Promise<TestContext> {
  const { logIn } = await import('./login/log-in.ts');
  const context = createTestContext({ apiUrl });
  (await logIn(context, { browser: false })).close();
  return context;
}
