// What `npm test` runs before the tests: makes sure that the real parts they drive are on this machine.
//
// On Debian as root, missing packages are installed; the coding agent comes from npm. A part that cannot be had is
// reported with the reason, which is also left where the suites read it (`partState` of the testkit) to be listed as
// skipped. On Debian x64 with npm reachable a missing required part fails the run instead.
import { spawnSync } from 'node:child_process';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installAgent } from './agents-install.mjs';

const reasonsFile = fileURLToPath(new URL('../node_modules/.cache/kontext/test-parts.json', import.meta.url));

function onPath(program) {
  const folders = (process.env.PATH ?? '').split(':').filter(Boolean);
  return folders.some((folder) => isExecutable(join(folder, program)));
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function hasPostgres() {
  const root = '/usr/lib/postgresql';
  const versions = existsSync(root) ? readdirSync(root).filter((version) => Number(version) >= 15) : [];
  if (versions.some((version) => isExecutable(join(root, version, 'bin', 'initdb')))) return true;
  if (!onPath('initdb') || !onPath('pg_ctl')) return false;
  const { stdout } = spawnSync('pg_ctl', ['--version'], { encoding: 'utf8' });
  return Number(/(\d+)/.exec(stdout ?? '')?.[1] ?? 0) >= 15;
}

/**
 * Parts that come as Debian packages. No suite that must run wants the pooler, the browser or the compilers, so their
 * absence never fails.
 */
const systemParts = [
  { name: 'postgres', packages: ['postgresql'], required: true, isThere: hasPostgres },
  {
    name: 'pgbouncer',
    packages: ['pgbouncer'],
    required: false,
    // Debian keeps it where the PATH of a plain user does not lead.
    isThere: () => onPath('pgbouncer') || isExecutable('/usr/sbin/pgbouncer'),
  },
  {
    name: 'keyring',
    packages: ['gnome-keyring', 'dbus'],
    required: true,
    isThere: () => onPath('gnome-keyring-daemon') && onPath('dbus-daemon'),
  },
  {
    name: 'compilers',
    packages: ['gcc', 'libc6-dev', 'musl-tools'],
    required: false,
    isThere: () => onPath('cc') && onPath('musl-gcc'),
  },
  { name: 'chromium', packages: ['chromium'], required: false, isThere: () => onPath('chromium') },
];

function debian() {
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  return { exact: /^ID="?debian"?$/m.test(release), like: /^ID(_LIKE)?=.*debian/m.test(release) };
}

/** Runs apt-get quietly, three times at most: mirrors fail now and then. */
function apt(args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  let output = '';
  for (let attempt = 1; attempt <= 3; attempt += 1) {
    const result = spawnSync('apt-get', ['-qq', ...args], { env, encoding: 'utf8', timeout: 600_000 });
    if (result.status === 0) return null;
    output = result.error ? result.error.message : `${result.stdout}${result.stderr}`;
    spawnSync('sleep', [String(attempt * 2)]);
  }
  return output.trim().split('\n').slice(-2).join(' | ');
}

/** Installs what is missing where that is possible; returns the reason per part that is still missing. */
function installSystemParts() {
  const missing = systemParts.filter((part) => !part.isThere());
  if (missing.length === 0) return {};
  const names = missing.flatMap((part) => part.packages).join(' ');
  if (!debian().like || process.getuid?.() !== 0) {
    return reasons(missing, (part) => `not installed (Debian: apt-get install ${part.packages.join(' ')})`);
  }
  console.log(`test parts: installing ${names}`);
  const updateProblem = apt(['update']);
  for (const part of missing) {
    part.problem = apt(['install', '-y', '--no-install-recommends', ...part.packages]) ?? updateProblem;
  }
  const still = missing.filter((part) => !part.isThere());
  return reasons(still, (part) => `apt-get could not install it: ${part.problem ?? 'no reason given'}`);
}

function reasons(parts, explain) {
  return Object.fromEntries(parts.map((part) => [part.name, explain(part)]));
}

function npmReachable() {
  const args = ['ping', '--fetch-retries=1', '--fetch-timeout=15000'];
  return spawnSync('npm', args, { stdio: 'ignore', shell: process.platform === 'win32' }).status === 0;
}

const problems = installSystemParts();
const claude = installAgent('claude');
if (claude.path === undefined) problems.claude = claude.reason;

for (const name of [...systemParts.map((part) => part.name), 'claude']) {
  console.log(`test parts: ${name}: ${problems[name] ?? 'ready'}`);
}
mkdirSync(dirname(reasonsFile), { recursive: true });
writeFileSync(reasonsFile, JSON.stringify(problems));

const optional = new Set(systemParts.filter((part) => !part.required).map((part) => part.name));
const required = Object.keys(problems).filter((name) => !optional.has(name));
if (required.length > 0 && debian().exact && process.arch === 'x64' && npmReachable()) {
  console.error(`test parts: missing on a machine that can have them: ${required.join(', ')}`);
  process.exitCode = 1;
}
