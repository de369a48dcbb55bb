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

/** Libraries no start needs; they stand in `libraries.js`, which the first module that imports one of them loads. */
const lateLibraries = new Set([
  '@bufbuild/protobuf',
  '@bufbuild/protobuf/wkt',
  '@connectrpc/connect',
  '@connectrpc/connect/protocol-connect',
  '@connectrpc/connect-node',
  '@kontext/protocol',
]);

/**
 * Puts a module of its exports in the place of each late library.
 *
 * @param names What is imported of each, by its path.
 */
const loadLate = (names) => ({
  name: 'load-late',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^@/ }, ({ path }) =>
      lateLibraries.has(path) ? { path, namespace: 'late', sideEffects: false } : undefined,
    );
    onResolve({ filter: /^\.\/libraries\.js$/, namespace: 'late' }, ({ path }) => ({ path, external: true }));
    onLoad({ filter: /.*/, namespace: 'late' }, ({ path }) => {
      const exports = [...(names.get(path) ?? [])];
      return { contents: `export { ${exports} } from './libraries.js';`, loader: 'js' };
    });
  },
});

/**
 * What the command never runs of its libraries, by the end of the file's path: it speaks binary Protobuf over HTTP/1.1
 * (`connect-clients.ts`). Each name throws.
 */
const neverRun = {
  '@bufbuild/protobuf/dist/esm/from-json.js': [
    'fromJson',
    'fromJsonString',
    'mergeFromJson',
    'mergeFromJsonString',
    'enumFromJson',
  ],
  '@bufbuild/protobuf/dist/esm/to-json.js': ['toJson', 'toJsonString', 'enumToJson'],
  '@connectrpc/connect-node/dist/esm/http2-session-manager.js': ['Http2SessionManager'],
};

/** Leaves what is never run out of a bundle, and writes the descriptors of `proto/` as bytes: base64 hides from gzip what repeats. */
const leaveOut = {
  name: 'leave-out',
  setup({ onLoad }) {
    onLoad({ filter: /packages\/protocol\/src\/gen\/.+_pb\.ts$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replace(/fileDesc\("([^"]+)"/, (_, text) => {
        const bytes = JSON.stringify(Buffer.from(text, 'base64').toString('latin1'));
        return `fileDesc(btoa(${bytes})`;
      }),
      loader: 'ts',
    }));
    for (const [path, names] of Object.entries(neverRun)) {
      onLoad({ filter: new RegExp(`/${path.replaceAll('.', '\\.')}$`) }, () => ({
        contents: names
          .map((name) => `export function ${name}() { throw new Error('${name} is not in this bundle'); }`)
          .join('\n'),
      }));
    }
  },
};

/** The starter rules without their comments and indentation: the command judges by them, and shows them to nobody. */
const shortenRules = {
  name: 'shorten-rules',
  setup({ onLoad }) {
    onLoad({ filter: /packages\/policy\/src\/starter-sources\.ts$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8')
        .replace(/(^|`)[ \t]*\/\/.*\n/gm, '$1')
        .replace(/^[ \t]+|^\n/gm, ''),
      loader: 'ts',
    }));
  },
};

/** What the command imports of the late libraries: esbuild names it all when they export nothing. The rest is not shipped. */
async function findLateNames(options) {
  const names = new Map([...lateLibraries].map((path) => [path, new Set()]));
  const quietly = { write: false, logLevel: 'silent', logLimit: 0 };
  const { errors } = await build({ ...options, ...quietly, plugins: [loadLate(names)] }).catch(
    (failure) => failure,
  );
  for (const { text } of errors) {
    const [, path, name] = /^No matching export in "late:(.+)" for import "(.+)"$/.exec(text) ?? [];
    if (name === undefined) throw new Error(text);
    names.get(path).add(name);
  }
  return names;
}

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
    minify: true,
    // One `import()` left in would start the loader of ES modules.
    supported: { 'dynamic-import': false },
  };
  const command = {
    ...commonJs,
    banner: { js: "const __moduleUrl = require('node:url').pathToFileURL(__filename).href;" },
    entryPoints: { main: 'apps/cli/src/main.ts' },
    external: Object.keys(json('apps/cli/package.json').dependencies),
    define: { ...common.define, 'import.meta.url': '__moduleUrl' },
  };
  const names = await findLateNames(command);
  await build({ ...command, plugins: [loadLate(names), shortenRules] });
  await build({
    ...commonJs,
    banner: {},
    stdin: {
      contents: [...names].map(([path, exports]) => `export { ${[...exports]} } from '${path}';`).join('\n'),
      resolveDir: join(root, 'apps/cli'),
      sourcefile: 'libraries.js',
    },
    outdir: undefined,
    outfile: 'apps/cli/dist/libraries.js',
    plugins: [leaveOut],
  });
  writeFileSync(join(root, 'apps/cli/dist/package.json'), '{ "type": "commonjs" }\n');
  // The hook client stands alone: one small file that Node can read at once.
  await build({
    ...commonJs,
    banner: {},
    outExtension: { '.js': '.cjs' },
    entryPoints: { hook: 'apps/cli/src/hooks/client-main.ts' },
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
    chaos: 'apps/e2e/src/chaos/main.ts',
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

// Only bash's grammar: its package holds native code and sources. The parser is a dependency and brings its own file.
function copyShellGrammar(dir) {
  const require = createRequire(join(root, 'packages/policy/package.json'));
  const grammar = 'tree-sitter-bash.wasm';
  cpSync(require.resolve(`tree-sitter-bash/${grammar}`), join(root, dir, grammar));
}

const started = Date.now();
const only = process.argv.slice(2).filter((arg) => !arg.startsWith('--'));
const steps = { cli: buildCli, hook: buildHook, backend: buildBackend, e2e: buildE2e };
for (const [name, step] of Object.entries(steps)) {
  if (only.length === 0 || only.includes(name)) await step();
}
if (!quiet) console.error(`build: done in ${Date.now() - started} ms`);
