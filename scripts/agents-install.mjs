// Fetches the pinned coding agents from npm into a cache outside the workspace (they are 100–400 MB each).
//
//   node scripts/agents-install.mjs            prints the path of each agent's program
//
// The program is the native one inside the platform package: no install script is needed or run. npm checks the
// package against the integrity the registry publishes for that exact version.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const pinned = JSON.parse(
  readFileSync(new URL('../packages/testkit/src/agents/pinned-agents.json', import.meta.url), 'utf8'),
);

/** Name of the package that holds the native program for this machine, such as `…-linux-x64-musl`. */
function platformPackage(agent) {
  const musl = process.platform === 'linux' && !process.report.getReport().header.glibcVersionRuntime;
  return `${agent.package}-${process.platform}-${process.arch}${musl ? '-musl' : ''}`;
}

/** Where the agent's program is kept: `$XDG_CACHE_HOME/kontext/agents/<package>@<version>/…`. */
function programPath(agent) {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const name = platformPackage(agent);
  const folder = join(
    cache,
    'kontext',
    'agents',
    `${name.replace(/^@/, '').replace('/', '-')}@${agent.version}`,
  );
  const program = process.platform === 'win32' ? `${agent.binary}.exe` : agent.binary;
  return { folder, program: join(folder, 'node_modules', ...name.split('/'), program), name };
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function run(file, args, cwd) {
  const result = spawnSync(file, args, { cwd, encoding: 'utf8', shell: process.platform === 'win32' });
  if (result.error) return { ok: false, output: String(result.error.message) };
  return { ok: result.status === 0, output: `${result.stdout}${result.stderr}`.trim() };
}

/**
 * Puts one agent into the cache; does nothing when it is there.
 *
 * @returns the program's path, or why it cannot be had.
 */
export function installAgent(key) {
  const { folder, program, name } = programPath(pinned[key]);
  if (isExecutable(program)) return { path: program };
  try {
    mkdirSync(dirname(folder), { recursive: true });
    // Built beside its place and renamed when it works: a stopped install never looks like a finished one.
    const scratch = mkdtempSync(join(dirname(folder), '.installing-'));
    try {
      const problem = installInto(
        scratch,
        name,
        pinned[key].version,
        join(scratch, relative(folder, program)),
      );
      if (problem !== null) return { reason: problem };
      rmSync(folder, { recursive: true, force: true });
      renameSync(scratch, folder);
      return { path: program };
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  } catch (error) {
    // Two installs at the same moment: the other one's rename came first.
    return isExecutable(program) ? { path: program } : { reason: error.message };
  }
}

function installInto(scratch, name, version, program) {
  const flags = [
    '--ignore-scripts',
    '--no-save',
    '--no-package-lock',
    '--no-audit',
    '--no-fund',
    '--fetch-retries=1',
  ];
  const npm = run('npm', ['install', '--prefix', scratch, ...flags, `${name}@${version}`], scratch);
  if (!npm.ok) return `npm could not install ${name}@${version}: ${firstLines(npm.output)}`;
  const answer = run(program, ['--version'], scratch);
  if (!answer.ok || !answer.output.startsWith(version))
    return `${name} --version answers: ${firstLines(answer.output)}`;
  return null;
}

/** The start of what a program said: npm names the cause first and its log file last. */
function firstLines(text) {
  return (
    text
      .split('\n')
      .filter((line) => line && !line.startsWith('npm warn'))
      .slice(0, 3)
      .join(' | ') || 'nothing'
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const key of Object.keys(pinned)) {
    const result = installAgent(key);
    console.log(result.path ?? `${key}: ${result.reason}`);
    if (result.path === undefined) process.exitCode = 1;
  }
}
