import { join } from 'node:path';
import { KontextError } from '@kontext/errors';
import type { Context } from '../context.ts';
import type { Login } from '../login/login-item.ts';
import type { SecretStore } from '../login/secret-store.ts';
import { openBackend } from '../rpc/open-backend.ts';
import { replayLeftovers } from '../spool/replay.ts';
import { createSpoolKeyStore } from '../spool/spool-key.ts';
import type { AppendBatch } from '../spool/uploader.ts';
import { createWitness } from '../witness/witness.ts';
import { appendWitnessed } from './append-events.ts';
import { measureSpool, type SpoolSize } from './measure-spool.ts';

/** Longest time for one session's events, and for finding out whether the backend is there. */
const deadlineMs = 5_000;

/** What a flush left, and why. */
export interface Flushed {
  readonly left: SpoolSize;
  /** What went wrong, as far as it is known; empty when nothing did. */
  readonly reasons: readonly string[];
}

/**
 * Sends what earlier sessions left, while there still is a login to send it with.
 *
 * @returns What still waits; its key stays in the store until it is sent.
 */
export async function flushSpool(context: Context, store: SecretStore, login: Login): Promise<Flushed> {
  const { config, terminal } = context;
  const before = measureSpool(config.stateDir);
  if (before.sessions === 0) return { left: before, reasons: [] };
  const reasons = new Set<string>();
  const note = (error: unknown): void => {
    reasons.add(error instanceof KontextError ? `${error.message} (${error.code})` : 'an unexpected error');
  };
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
    const root = join(config.stateDir, 'spool');
    const { kept } = await replayLeftovers({ root, key, owner, append, deadlineMs });
    for (const { error } of kept) note(error);
  } catch (error) {
    note(error);
  } finally {
    witness.close();
    backend.close();
  }
  return { left: measureSpool(config.stateDir), reasons: [...reasons] };
}

/** Says what could not be sent before a login goes; nothing when nothing waits. */
export function warnOfUnsent({ config, terminal }: Context, { left, reasons }: Flushed): void {
  if (left.sessions + left.refused === 0) return;
  const { events, sessions, refused } = left;
  const path = join(config.stateDir, 'spool');
  if (sessions > 0) {
    terminal.warn(`${events} event(s) of ${sessions} session(s) could not be sent; they wait in ${path}`);
    terminal.warn('the next session of the same account sends them, for seven days after their session');
  }
  if (refused > 0) terminal.warn(`${refused} session(s) that the backend refused are kept in ${path}`);
  for (const reason of reasons) terminal.warn(`why: ${reason}`);
}
