import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type PostgresServer, startServer, stopServer } from './server.ts';

/** Set by {@link openTestRun} and inherited by every test worker; names the folder of the run. */
const runDirectoryVariable = 'KONTEXT_TEST_RUN_DIR';

type SharedState = { readonly server: PostgresServer } | { readonly error: string };

/**
 * Opens one test run: makes the folder through which its workers share a server.
 *
 * Nothing is started here; the first worker that asks starts the server, so runs that need none pay nothing.
 *
 * @returns The function that ends the run: stops the server, if one was started, and removes the folder.
 */
export function openTestRun(): () => Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'kontext-run-'));
  writeFileSync(join(directory, 'owner'), String(process.pid));
  process.env[runDirectoryVariable] = directory;
  return async () => {
    delete process.env[runDirectoryVariable];
    const state = readState(directory);
    if (state !== null && 'server' in state) await stopServer(state.server);
    rmSync(directory, { recursive: true, force: true });
  };
}

/**
 * Gives the server of this test run, starting it when this is the first worker to ask.
 *
 * @returns null outside a test run: the caller then starts one of its own.
 * @throws Error when the first worker could not start it.
 */
export async function loadSharedServer(): Promise<PostgresServer | null> {
  const directory = testRunFolder();
  if (directory === null) return null;
  if (takeTurn(directory)) await startAndPublish(directory);
  for (;;) {
    const state = readState(directory);
    if (state !== null && 'error' in state) throw new Error(state.error);
    if (state !== null) return state.server;
    await sleep(50);
  }
}

/** Folder that the workers of this test run share, gone when it ends; null outside a run. */
export function testRunFolder(): string | null {
  const directory = process.env[runDirectoryVariable];
  return directory === undefined || !existsSync(directory) ? null : directory;
}

function takeTurn(directory: string): boolean {
  try {
    mkdirSync(join(directory, 'postgres.starting'));
    return true;
  } catch {
    return false;
  }
}

async function startAndPublish(directory: string): Promise<void> {
  const ownerPid = Number(readFileSync(join(directory, 'owner'), 'utf8'));
  const state: SharedState = await startServer(ownerPid, false).then(
    (server) => ({ server }),
    (error: unknown) => ({ error: String(error) }),
  );
  const path = join(directory, 'postgres.json');
  writeFileSync(`${path}.part`, JSON.stringify(state), { mode: 0o600 });
  renameSync(`${path}.part`, path);
}

function readState(directory: string): SharedState | null {
  const path = join(directory, 'postgres.json');
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as SharedState) : null;
}
