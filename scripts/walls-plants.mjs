// One violation per wall: [rule, file (% becomes "planted-<rule>"), text]. Written only into the self-test's copy.
const packages = ['protocol', 'errors', 'env-template', 'policy', 'oauth', 'vault', 'redaction', 'audit'];

const other = (name) => (name === 'testkit' ? 'errors' : 'testkit');

export const plants = [
  ...packages.flatMap((name) => [
    [`${name}-rooms`, `packages/${name}/src/%.ts`, `import '@kontext/${other(name)}';\n`],
    [`${name}-npm`, `packages/${name}/src/%.ts`, "import 'fastify';\n"],
    [`${name}-node`, `packages/${name}/src/%.ts`, "import 'node:net';\n"],
  ]),
  ['cli-rooms', 'apps/cli/src/%.ts', "import '@kontext/vault';\n"],
  ['backend-rooms', 'apps/backend/src/%.ts', "import '@kontext/testkit';\n"],
  ['e2e-rooms', 'apps/e2e/src/%.ts', "import '@kontext/vault';\n"],
  ['apps-apart', 'apps/cli/src/%.ts', "import '../../backend/src/app.ts';\n"],
  ['packages-below-apps', 'packages/testkit/src/%.ts', "import '../../../apps/cli/src/config.ts';\n"],
  ['edges-not-store', 'apps/backend/src/rpc/%.ts', "import '../store/schema.ts';\n"],
  [
    'store-not-work',
    'apps/backend/src/store/%.ts',
    "import '../app.ts';\nimport '../planted-target.ts';\nimport '../rpc/planted-edges-not-store.ts';\n",
  ],
  ['sql-in-store', 'apps/backend/src/%.ts', "import 'pg';\n"],
  ['providers-alone', 'apps/backend/src/providers/%.ts', "import '../config.ts';\n"],
  ['work-not-edges', 'apps/backend/src/sessions/%.ts', "import '../app.ts';\n"],
  ['commands-apart', 'apps/cli/src/commands/%.ts', "import './login.ts';\n"],
  ['rooms-below-commands', 'apps/cli/src/session/%.ts', "import '../commands/login.ts';\n"],
  ['hook-client-light', 'apps/cli/src/hooks/client-%.ts', "import 'commander';\n"],
  ['commander-in-commands', 'apps/cli/src/login/%.ts', "import 'commander';\n"],
  ['no-circular', 'apps/backend/src/%.ts', "import './planted-no-circular-b.ts';\n"],
  ['resolvable', 'apps/backend/src/%.ts', "import './nowhere.ts';\n"],
  ['planted-helper', 'apps/backend/src/planted-no-circular-b.ts', "import './planted-no-circular.ts';\n"],
];

export const textPlants = [
  ['env-in-config', 'apps/cli/src/login/%.ts', 'export const leak = process.env;\n'],
  ['terminal-alone', 'apps/cli/src/login/%.ts', "process.stdout.write('x');\n"],
  ['no-console-in-packages', 'packages/oauth/src/%.ts', "console.log('x');\n"],
];
