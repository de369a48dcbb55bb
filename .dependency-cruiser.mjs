/**
 * The walls of the house (docs/architecture.md). One rule per wall; `scripts/walls.mjs` plants a violation of every
 * rule and fails when a rule does not see it.
 */
const inTests = '\\.test\\.ts$|/test-[a-z-]+\\.ts$|/testdata/';

/** What each room may import: other rooms, packages of the registry, modules of Node. */
const rooms = {
  'packages/protocol': { rooms: [], npm: ['@bufbuild/protobuf'], node: [] },
  'packages/errors': { rooms: [], npm: [], node: [] },
  'packages/env-template': { rooms: ['errors'], npm: [], node: ['crypto'] },
  'packages/policy': {
    rooms: ['protocol', 'errors'],
    npm: ['@cedar-policy/cedar-wasm', 'web-tree-sitter'],
    // its wasm and the starter text beside it are all it may read
    node: ['crypto', 'fs', 'fs/promises', 'module', 'path', 'url', 'v8'],
  },
  'packages/oauth': { rooms: ['errors'], npm: ['jose'], node: ['crypto'] },
  'packages/vault': { rooms: ['errors'], npm: [], node: ['crypto'] },
  'packages/redaction': { rooms: ['errors'], npm: [], node: ['util', 'buffer'] },
  'packages/audit': { rooms: ['protocol', 'errors'], npm: [], node: ['buffer', 'crypto'] },
};

const quote = (name) => name.replace(/[/.]/g, '\\$&');

const roomRules = Object.entries(rooms).flatMap(([room, may]) => {
  const name = room.split('/')[1];
  const from = { path: `^${quote(room)}/src/`, pathNot: inTests };
  const known = [name, ...may.rooms].map((r) => `^packages/${r}/`);
  return [
    { name: `${name}-rooms`, severity: 'error', from, to: { path: '^(packages|apps)/', pathNot: known } },
    {
      name: `${name}-npm`,
      severity: 'error',
      from,
      to: {
        path: 'node_modules/',
        pathNot: [`node_modules/@kontext/`, ...may.npm.map((p) => `node_modules/${quote(p)}/`)],
      },
    },
    {
      name: `${name}-node`,
      severity: 'error',
      from,
      to: {
        dependencyTypes: ['core'],
        ...(may.node.length ? { pathNot: `^(node:)?(${may.node.map(quote).join('|')})$` } : {}),
      },
    },
  ];
});

const wall = (name, from, to, comment) => ({
  name,
  comment,
  severity: 'error',
  from: { pathNot: inTests, ...from },
  to,
});

const rules = [
  ...roomRules,
  wall(
    'cli-rooms',
    { path: '^apps/cli/' },
    { path: '^packages/(vault|testkit)/' },
    'the CLI never sees the vault',
  ),
  wall(
    'backend-rooms',
    { path: '^apps/backend/' },
    { path: '^packages/testkit/' },
    'the testkit is for tests',
  ),
  wall(
    'e2e-rooms',
    { path: '^apps/e2e/' },
    { path: '^packages/', pathNot: '^packages/(testkit|errors|protocol|redaction|policy|audit)/' },
    'stories drive the built programs; the bench measures a package alone',
  ),
  wall(
    'apps-apart',
    { path: '^apps/([^/]+)/' },
    { path: '^apps/', pathNot: '^apps/$1/' },
    'apps never import apps',
  ),
  wall('packages-below-apps', { path: '^packages/' }, { path: '^apps/' }, 'packages never import apps'),
  wall(
    'edges-not-store',
    { path: '^apps/backend/src/(rpc|http)/' },
    { path: '^apps/backend/src/store/' },
    'edges call the work, the work calls the store',
  ),
  wall(
    'store-not-work',
    { path: '^apps/backend/src/store/' },
    {
      path: '^apps/backend/src/(rpc|http|login|organisations|sessions|credentials|connections|policies|approvals|webhooks|sinks|metrics|audit|providers|kms)/',
    },
    'the store knows nobody above it',
  ),
  wall(
    'sql-in-store',
    // A database in which roles are leased is a provider's: its client is no way to our own store.
    {
      path: '^apps/backend/src/',
      pathNot: [
        '^apps/backend/src/store/',
        '^apps/backend/src/providers/minted/postgres-admin\\.ts$',
        inTests,
      ],
    },
    { path: 'node_modules/(pg|drizzle-orm|@electric-sql/pglite)/' },
    'only the store knows SQL',
  ),
  wall(
    'providers-alone',
    { path: '^apps/backend/src/providers/' },
    { path: '^apps/backend/src/', pathNot: '^apps/backend/src/providers/' },
    'providers are leaves',
  ),
  wall(
    'work-not-edges',
    {
      path: '^apps/backend/src/(login|organisations|sessions|credentials|connections|policies|approvals|webhooks|sinks|metrics|audit|kms)/',
    },
    { path: '^apps/backend/src/((rpc|http)/|(app|main)\\.ts)' },
    'arrows point one way',
  ),
  wall(
    'commands-apart',
    { path: '^apps/cli/src/commands/([^/]+)\\.ts$' },
    { path: '^apps/cli/src/commands/', pathNot: '^apps/cli/src/commands/$1(-|\\.ts$)' },
    'commands never import commands but their own subcommands',
  ),
  wall(
    'rooms-below-commands',
    { path: '^apps/cli/src/(login|session|agents|hooks|spool|rpc)/' },
    { path: '^apps/cli/src/(commands/|main\\.ts)' },
    'arrows point one way',
  ),
  wall(
    'hook-client-light',
    { path: '^apps/cli/src/hooks/client' },
    { pathNot: '^apps/cli/src/hooks/client|^(node:)?(net|fs|path|os)$' },
    'the hook client loads node built-ins only',
  ),
  wall(
    'commander-in-commands',
    {
      path: '^apps/',
      pathNot: ['^apps/cli/src/(main\\.ts|commands/)', '^apps/backend/src/(main\\.ts|commands/)', inTests],
    },
    { path: 'node_modules/commander/' },
    'arguments are parsed at the process edge',
  ),
  { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
  { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
];

export default {
  forbidden: rules,
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '/(dist|gen)/' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
      extensions: ['.ts', '.mjs', '.js', '.json', '.d.ts'],
    },
    moduleSystems: ['es6'],
  },
};
