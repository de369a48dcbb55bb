import { execFile } from 'node:child_process';
import { realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { readAtMost } from '../read-at-most.ts';
import { writeStateFile } from '../state-file.ts';

/** The version of the installed agent. */
export interface AgentVersion {
  /** Empty while it is not known. */
  known(): string;
  /** Asks the program itself, when nothing else told, and keeps the answer for the next session. Never rejects. */
  learn(): Promise<void>;
}

/** Whose version is asked for. */
export interface AgentVersionOptions {
  /** Absolute path of the agent. */
  readonly command: string;
  /** Beginning of the names of the packages it is installed by. */
  readonly packageName: string;
  readonly stateDir: string;
  /** The user's own; the program may need its home. */
  readonly environment: Readonly<Record<string, string>>;
}

const maxFileBytes = 65_536;
const askTimeoutMs = 10_000;
/** Longest version the backend takes. */
const maxVersionLength = 64;

/**
 * Tells the version without running anything: by the package around the program, by the program's own name where an installer
 * names it after the version, or by what an earlier session learned of this very file.
 */
export function createAgentVersion(options: AgentVersionOptions): AgentVersion {
  const file = describeFile(options.command);
  let version = file === null ? '' : versionBeside(file.path, options.packageName);
  const cachePath = join(options.stateDir, 'agent-versions.json');
  const cache = version === '' ? readCache(cachePath) : {};
  if (file !== null && version === '') version = parseVersion(cache[file.key]);
  return {
    known: () => version,
    async learn() {
      if (version !== '' || file === null) return;
      version = await askProgram(options);
      if (version !== '') writeCache(cachePath, { ...cache, [file.key]: version });
    },
  };
}

/** Another file in its place has another key. */
function describeFile(command: string): { readonly path: string; readonly key: string } | null {
  try {
    const path = realpathSync(command);
    const { mtimeMs, size } = statSync(path);
    return { path, key: `${path} ${mtimeMs} ${size}` };
  } catch {
    return null;
  }
}

function versionBeside(path: string, packageName: string): string {
  if (/^\d+\.\d+\.\d+/.test(basename(path))) return parseVersion(basename(path));
  const folders = [dirname(path), dirname(dirname(path)), dirname(dirname(dirname(path)))];
  for (const folder of folders) {
    const { name, version } = readJson(join(folder, 'package.json'));
    if (typeof name === 'string' && name.startsWith(packageName)) return parseVersion(version);
  }
  return '';
}

function askProgram({ command, environment }: AgentVersionOptions): Promise<string> {
  return new Promise((resolve) => {
    const limits = { timeout: askTimeoutMs, killSignal: 'SIGKILL', maxBuffer: maxFileBytes } as const;
    const { PATH = '', HOME = '' } = environment;
    const child = execFile(command, ['--version'], { ...limits, env: { PATH, HOME } }, (_error, stdout) =>
      resolve(parseVersion(stdout)),
    );
    child.unref();
  });
}

const parseVersion = (text: unknown): string =>
  typeof text === 'string' ? (/\d+\.\d+\.\d+[\w.+-]*/.exec(text)?.[0] ?? '').slice(0, maxVersionLength) : '';

function readCache(path: string): Readonly<Record<string, unknown>> {
  const entries = Object.entries(readJson(path)).slice(-maxCached);
  return Object.fromEntries(entries);
}

/** Programs whose versions are kept. */
const maxCached = 20;

function readJson(path: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(readAtMost(path, maxFileBytes).toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** A cache that cannot be written costs the next session the same question. */
function writeCache(path: string, versions: Readonly<Record<string, unknown>>): void {
  try {
    writeStateFile(path, JSON.stringify(versions));
  } catch {
    // See above.
  }
}
