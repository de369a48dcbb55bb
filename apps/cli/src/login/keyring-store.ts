/**
 * The OS keyring behind one small file.
 *
 * Every call runs in a short-lived child process: the native library connects to the keyring synchronously, so a
 * D-Bus that accepts and never answers would hold this process for ever, and not even `process.exit` ends a process
 * whose thread hangs in native code. A child can be killed. Values travel over its standard input and output.
 *
 * On Linux the store is pinned to the Secret Service. Left to itself the library falls back to kernel keyutils, where
 * a login would vanish with the next reboot.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { KontextError } from '@kontext/errors';
import type { SecretStore } from './secret-store.ts';

const service = 'kontext';

/** A keyring that asks its user for a password may take as long as typing takes; without a screen it cannot ask. */
const limits = { headlessMs: 3_000, withDisplayMs: 60_000 };

/** CommonJS, because `node -e` starts fastest with it. Answers one JSON document. */
const childScript = `
let text = '';
process.stdin.setEncoding('utf8').on('data', (d) => (text += d)).on('end', () => {
  const { library, steps } = JSON.parse(text);
  try {
    const { Entry } = require(library);
    const answers = steps.map(([operation, account, value]) => {
      const entry = new Entry('${service}', account, { linux: { store: 'secret-service' } });
      if (operation === 'get') return entry.getPassword() ?? null;
      if (operation === 'set') return entry.setPassword(value) ?? null;
      return entry.deleteCredential();
    });
    process.stdout.write(JSON.stringify({ answers }));
  } catch (error) {
    process.stdout.write(JSON.stringify({ failure: String(error && error.message) }));
  }
});`;

type Step = readonly ['get' | 'delete', string] | readonly ['set', string, string];
type Answer = string | boolean | null | undefined;

/** What a test may replace. */
export interface KeyringOptions {
  /** Longest time for one call; default 3 s without a display, 60 s with one. */
  readonly timeoutMs?: number;
}

/**
 * Opens the keyring of the user; nothing is asked of it before the first call.
 *
 * @param env Environment that tells where the session's D-Bus is.
 */
export function createKeyringStore(
  env: Readonly<Record<string, string>>,
  options: KeyringOptions = {},
): SecretStore {
  const hasDisplay = Boolean(env.DISPLAY || env.WAYLAND_DISPLAY);
  const timeoutMs = options.timeoutMs ?? (hasDisplay ? limits.withDisplayMs : limits.headlessMs);
  const call = (...steps: Step[]) => callKeyring(env, timeoutMs, steps);
  return {
    kind: 'keyring',
    location: process.platform === 'linux' ? 'the Secret Service keyring' : 'the OS keyring',
    async get(account) {
      const [value] = await call(['get', account]);
      return typeof value === 'string' ? value : null;
    },
    async set(account, value) {
      await call(['set', account, value]);
    },
    async delete(account) {
      const [deleted] = await call(['delete', account]);
      return deleted === true;
    },
    async probe() {
      // Without a Secret Service a read answers "nothing there": only what was written and read back proves it.
      const account = `probe-${randomUUID()}`;
      const [, value] = await call(['set', account, 'probe'], ['get', account], ['delete', account]);
      if (value !== 'probe') throw unavailable('what was written could not be read back');
    },
  };
}

async function callKeyring(
  env: Readonly<Record<string, string>>,
  timeoutMs: number,
  steps: readonly Step[],
): Promise<readonly Answer[]> {
  const require = createRequire(import.meta.url);
  const library = require.resolve('@napi-rs/keyring');
  // NODE_OPTIONS could load foreign code into the process that sees the login.
  const { NODE_OPTIONS: _, ...childEnv } = env;
  const child = spawn(process.execPath, ['-e', childScript], {
    env: childEnv,
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const text = await readAnswer(child, JSON.stringify({ library, steps }), timeoutMs);
  const answer = parseAnswer(text);
  if (answer.answers === undefined) throw failureOf(answer.failure ?? 'no answer');
  return answer.answers;
}

function readAnswer(child: ChildProcess, question: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(unavailable(`the keyring did not answer within ${timeoutMs / 1000} s; it may be locked`));
    }, timeoutMs);
    const settle = (then: () => void) => {
      clearTimeout(timer);
      then();
    };
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    child.once('error', (cause) =>
      settle(() => reject(unavailable('its helper process cannot be started', cause))),
    );
    child.once('close', () => settle(() => resolve(text)));
    child.stdin?.on('error', () => undefined).end(question);
  });
}

function parseAnswer(text: string): { readonly answers?: readonly Answer[]; readonly failure?: string } {
  try {
    return JSON.parse(text) as { answers?: readonly Answer[]; failure?: string };
  } catch {
    return {};
  }
}

/** The library's messages name no values, only the store's own complaint. */
function failureOf(message: string): KontextError {
  if (/DBus|dbus|autolaunch|NoStorageAccess.*connect/i.test(message)) {
    return unavailable('no Secret Service answers on the D-Bus of this session');
  }
  if (!/locked|dismissed|prompt/i.test(message)) return unavailable(message.slice(0, 200));
  return new KontextError('KX_KEYRING_LOCKED', 'the OS keyring is locked', {
    why: 'it can be unlocked on the desktop of this machine, and nobody did',
  });
}

const unavailable = (why: string, cause?: unknown) =>
  new KontextError('KX_KEYRING_UNAVAILABLE', 'the OS keyring cannot be used', {
    why,
    ...(cause === undefined ? {} : { cause }),
  });
