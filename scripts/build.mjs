#!/usr/bin/env node
// Bundles what runs outside tests: the kontext command, its hook client, the backend, the demo, the bench.
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { compileHook } from './build-hook.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const quiet = process.argv.includes('--quiet');
const json = (path) => JSON.parse(readFileSync(join(root, path), 'utf8'));

const common = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node20.19',
  format: 'esm',
  splitting: true,
  minify: false,
  sourcemap: false,
  legalComments: 'none',
  logLevel: 'warning',
  outExtension: { '.js': '.js' },
  define: { __KONTEXT_VERSION__: JSON.stringify(json('package.json').version) },
  // CommonJS packages inside an ES module bundle still call require() for node's own modules.
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module';const require = __createRequire(import.meta.url);",
  },
};

const clean = (dir) => {
  rmSync(join(root, dir), { recursive: true, force: true });
  mkdirSync(join(root, dir), { recursive: true });
};

/** Libraries no start needs, with the name of their namespace in `libraries.js`. */
const lateLibraries = {
  '@bufbuild/protobuf': 'protobuf',
  '@connectrpc/connect': 'connect',
  '@connectrpc/connect/protocol-connect': 'connectProtocol',
  '@connectrpc/connect-node': 'connectNode',
  '@kontext/protocol': 'protocol',
  'openid-client': 'openidClient',
};

/** Leaves the late libraries in a file of their own, which is loaded by the first module that imports one. */
const loadLate = {
  name: 'load-late',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^[@o]/ }, ({ path }) =>
      path in lateLibraries ? { path, namespace: 'late', sideEffects: false } : undefined,
    );
    onResolve({ filter: /^\.\/libraries\.js$/, namespace: 'late' }, ({ path }) => ({ path, external: true }));
    onLoad({ filter: /.*/, namespace: 'late' }, ({ path }) => ({
      contents: `module.exports = require('./libraries.js').${lateLibraries[path]};`,
    }));
  },
};

/**
 * The command is one CommonJS file and one of libraries: Node 20 starts that in a fraction of the time ES modules take.
 * What a command does not import stays unevaluated, but all of a file is parsed.
 */
async function buildCli() {
  clean('apps/cli/dist');
  const commonJs = {
    ...common,
    splitting: false,
    format: 'cjs',
    outdir: 'apps/cli/dist',
    minifySyntax: true,
    minifyWhitespace: true,
    // One `import()` left in would start the loader of ES modules.
    supported: { 'dynamic-import': false },
    // Its ES module makes a `require` of its own, which turns on itself where it is rewritten to CommonJS.
    alias: { 'web-tree-sitter': join(root, 'node_modules/web-tree-sitter/web-tree-sitter.cjs') },
  };
  await build({
    ...commonJs,
    banner: { js: "const __moduleUrl = require('node:url').pathToFileURL(__filename).href;" },
    entryPoints: { main: 'apps/cli/src/main.ts' },
    external: Object.keys(json('apps/cli/package.json').dependencies),
    define: { ...common.define, 'import.meta.url': '__moduleUrl' },
    plugins: [loadLate],
  });
  await build({
    ...commonJs,
    banner: {},
    stdin: {
      contents: Object.entries(lateLibraries)
        .map(([path, name]) => `export * as ${name} from '${path}';`)
        .join('\n'),
      resolveDir: join(root, 'apps/cli'),
      sourcefile: 'libraries.js',
    },
    outdir: undefined,
    outfile: 'apps/cli/dist/libraries.js',
  });
  writeFileSync(join(root, 'apps/cli/dist/package.json'), '{ "type": "commonjs" }\n');
  // The hook client stands alone: one small file that Node can read at once.
  await build({
    ...commonJs,
    banner: {},
    outExtension: { '.js': '.cjs' },
    entryPoints: { hook: 'apps/cli/src/hooks/client-main.ts' },
    minify: true,
  });
  copyCedar('apps/cli/dist');
  copyShellGrammar('apps/cli/dist');
}

/** The native hook client. Without a compiler there is none, and agents run its twin. */
function buildHook() {
  clean('apps/hook/dist');
  const reason = compileHook(join(root, 'apps/hook/dist/kontext-hook'));
  if (reason !== null && !quiet) console.error(`build: no native hook client: ${reason}`);
}

async function buildBackend() {
  clean('apps/backend/dist');
  const backend = json('apps/backend/package.json');
  await build({
    ...common,
    entryPoints: {
      main: 'apps/backend/src/main.ts',
      'policy-worker': 'apps/backend/src/policies/policy-worker.ts',
    },
    outdir: 'apps/backend/dist',
    chunkNames: 'chunks/[name]-[hash]',
    // The optional peers (SDKs of key services) too: they are looked for when a setting asks for one.
    external: [...Object.keys(backend.dependencies), ...Object.keys(backend.peerDependencies)],
    loader: { '.sql': 'text' },
  });
  copyCedar('apps/backend/dist');
}

async function buildE2e() {
  clean('apps/e2e/dist');
  const entries = {
    demo: 'apps/e2e/src/demo/main.ts',
    'demo-agent': 'apps/e2e/src/demo/agent.ts',
    'hook-timing': 'apps/e2e/src/demo/hook-timing.ts',
    upstream: 'packages/testkit/src/upstream/main.ts',
    bench: 'apps/e2e/src/bench/main.ts',
    'bench-hook-agent': 'apps/e2e/src/bench/hook-agent.ts',
    'bench-hook-load-agent': 'apps/e2e/src/bench/hook-load-agent.ts',
    'bench-exchange-floor': 'apps/e2e/src/bench/exchange-floor.ts',
  };
  const entryPoints = Object.fromEntries(
    Object.entries(entries).filter(([, path]) => existsSync(join(root, path))),
  );
  await build({
    ...common,
    // Files find each other and the repository by their own place: no chunk folder.
    splitting: false,
    entryPoints,
    outdir: 'apps/e2e/dist',
    packages: 'external',
    alias: Object.fromEntries(
      ['audit', 'errors', 'testkit', 'policy', 'protocol', 'redaction'].map((name) => [
        `@kontext/${name}`,
        join(root, `packages/${name}/src/index.ts`),
      ]),
    ),
  });
}

// Only the Node build of Cedar is shipped: the package holds three builds in 12.8 MB.
function copyCedar(dir) {
  const require = createRequire(join(root, 'packages/policy/package.json'));
  const nodejs = dirname(require.resolve('@cedar-policy/cedar-wasm/nodejs'));
  cpSync(join(nodejs, 'cedar_wasm_bg.wasm'), join(root, dir, 'cedar_wasm_bg.wasm'));
}

// The parser and bash's grammar; the rest of their packages is native code and sources.
function copyShellGrammar(dir) {
  const require = createRequire(join(root, 'packages/policy/package.json'));
  for (const name of ['web-tree-sitter/web-tree-sitter.wasm', 'tree-sitter-bash/tree-sitter-bash.wasm']) {
    cpSync(require.resolve(name), join(root, dir, name.slice(name.indexOf('/') + 1)));
  }
}

const started = Date.now();
const only = process.argv.slice(2).filter((arg) => !arg.startsWith('--'));
const steps = { cli: buildCli, hook: buildHook, backend: buildBackend, e2e: buildE2e };
for (const [name, step] of Object.entries(steps)) {
  if (only.length === 0 || only.includes(name)) await step();
}
if (!quiet) console.error(`build: done in ${Date.now() - started} ms`);
