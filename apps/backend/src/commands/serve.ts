import { KontextError } from '@kontext/errors';
import { createApp, type Wiring } from '../app.ts';
import type { Config } from '../config.ts';
import { createKeyTask } from '../kms/key-task.ts';
import { openKeyring } from '../kms/open-keyring.ts';
import { syncKeys } from '../kms/sync-keys.ts';
import type { Logger } from '../log.ts';
import { createDefaultOrg } from '../login/local-accounts.ts';
import type { BackgroundTask } from '../run-tasks.ts';
import { wire } from '../wiring.ts';
import { ensureSchema, openStore } from './open-backend.ts';

/** A running backend. */
export interface RunningBackend {
  readonly url: string;
  /** Stops listening, lets running requests end (streams within 2 s), closes the store. */
  close(): Promise<void>;
}

/**
 * `kontext-backend serve`: opens store and keys, migrates and makes the first organisation in local mode, listens.
 *
 * @param print Receives the lines of standard output: the local account, once; then the address.
 * @throws KontextError `KX_STORE_SCHEMA_OLD`, `KX_KEK_MISSING`, `KX_STORE_LOCKED`, `KX_CONFIG_INVALID` (address in use).
 */
export async function serve(
  config: Config,
  logger: Logger,
  print: (line: string) => void,
): Promise<RunningBackend> {
  const keyring = await openKeyring(config);
  const store = await openStore(config);
  // Refreshes hold a connection while a provider answers: on Postgres they have a pool of their own.
  const refreshStore = config.databaseUrl === null ? store : await openStore(config);
  const closeStores = () => Promise.all([...new Set([store, refreshStore])].map((one) => one.close()));
  try {
    await ensureSchema(store, config.local);
    await store.maintain(new Date());
    await syncKeys(store, keyring, new Date());
    const owner = config.local ? await createDefaultOrg(store, keyring, Date.now()) : null;
    if (owner) print(`kontext-backend: local account: ${owner.account}  passcode: ${owner.passcode}`);
    const app = await createApp({
      ...{ config, store, kms: keyring, logger },
      wire: (parts) => addTask(wire(parts, refreshStore), createKeyTask({ ...parts, keyring })),
    });
    await app.listen(config.listen).catch((error: unknown) => {
      throw listenError(error, config);
    });
    print(`kontext-backend: listening on ${config.apiUrl}`);
    return {
      url: config.apiUrl,
      close: async () => {
        await app.close();
        // Counts the last uses of keys; without them the backend stops as well.
        await syncKeys(store, keyring, new Date()).catch(() => undefined);
        await closeStores();
      },
    };
  } catch (error) {
    await closeStores();
    throw error;
  }
}

const addTask = (wiring: Wiring, task: BackgroundTask): Wiring => ({
  ...wiring,
  tasks: [...(wiring.tasks ?? []), task],
});

function listenError(cause: unknown, { listen }: Config): unknown {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const why = {
    EADDRINUSE: 'another process listens there',
    EACCES: 'this user may not listen there',
    EADDRNOTAVAIL: 'this machine has no such address',
  }[code];
  if (why === undefined) return cause;
  return new KontextError('KX_CONFIG_INVALID', `cannot listen on ${listen.host}:${listen.port}`, {
    why,
    hint: 'stop the other process, or set KONTEXT_LISTEN',
    cause,
  });
}
