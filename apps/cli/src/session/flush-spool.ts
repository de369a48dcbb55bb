import { join } from 'node:path';
import type { Context } from '../context.ts';
import type { Login } from '../login/login-item.ts';
import type { SecretStore } from '../login/secret-store.ts';
import { openBackend } from '../rpc/open-backend.ts';
import { replayLeftovers } from '../spool/replay.ts';
import { createSpoolKeyStore } from '../spool/spool-key.ts';
import type { AppendBatch } from '../spool/uploader.ts';
import { createWitness } from '../witness/witness.ts';
import { appendWitnessed } from './append-events.ts';
import { measureSpool } from './measure-spool.ts';

/** Longest time for one session's events, and for finding out whether the backend is there. */
const deadlineMs = 5_000;

/**
 * Sends what earlier sessions left, while there still is a login to send it with.
 *
 * @returns How many sessions' events still wait; their key stays in the store until they are sent.
 */
export async function flushSpool(context: Context, store: SecretStore, login: Login): Promise<number> {
  const { config, terminal } = context;
  if (measureSpool(config.stateDir).sessions === 0) return 0;
  const backend = await openBackend({ config, terminal, fresh: { login, store } });
  const announce = (path: string) => terminal.warn(`the key of the spool is kept in a plain file, ${path}`);
  const owner = { apiUrl: config.apiUrl, org: login.org, user: login.sub };
  const witness = createWitness({
    calls: backend.calls,
    owner: { ...owner, orgId: login.org, logKey: login.logKey ?? '', stateDir: config.stateDir },
  });
  try {
    const clients = await backend.connect();
    await clients.organisation.getCaller({}, { timeoutMs: deadlineMs });
    const key = await createSpoolKeyStore({ items: store, ...config, announce }).load();
    const append = (streamId: string, batch: AppendBatch) =>
      appendWitnessed(backend.calls, witness, streamId, batch);
    await replayLeftovers({ root: join(config.stateDir, 'spool'), key, owner, append, deadlineMs });
  } catch {
    // Said by the number that remains.
  } finally {
    witness.close();
    backend.close();
  }
  return measureSpool(config.stateDir).sessions;
}
