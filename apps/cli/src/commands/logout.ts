import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import { loadLogin } from '../login/load-login.ts';
import { type Login, parseLogin } from '../login/login-item.ts';
import { openSecretStore } from '../login/open-secret-store.ts';
import { revokeToken } from '../login/revoke-token.ts';
import { withClients } from '../rpc/open-backend.ts';
import { flushSpool, warnOfUnsent } from '../session/flush-spool.ts';
import { measureSpool } from '../session/measure-spool.ts';
import { refuseInSession } from '../session/refuse-in-session.ts';
import { refuseNested } from '../session/refuse-nested.ts';

/** `kontext logout` */
export function define(command: Command, run: RunCommand): void {
  command
    .option('--all', 'end every login of the account, on every machine; a person confirms it in the browser')
    .action((options: { all?: boolean }) => run({}, options.all ? logOutEverywhere : logOut));
}

/**
 * Ends every login of the account with its sessions and credentials, then wipes the one of this machine.
 *
 * @throws KontextError `KX_SESSION_REFUSED` inside a session, `KX_NOT_LOGGED_IN`, and what a confirmation throws: then
 *   nothing has ended, and the login of this machine stays.
 */
async function logOutEverywhere(context: Context): Promise<number> {
  const { config, terminal, signal } = context;
  refuseInSession(context);
  const store = openSecretStore(config, terminal);
  const flushed = await flushSpool(context, store, await loadLogin(config, store));
  const ended = await withClients(context, (clients) => clients.logins.revokeLogins({}, { signal }));
  await store.delete(config.apiUrl);
  terminal.note(
    `ended ${ended.loginsEnded} login(s), ${ended.sessionsEnded} session(s), ${ended.leasesEnded} credential(s)`,
  );
  terminal.note(`the login is gone from ${store.location}`);
  warnOfUnsent(context, flushed);
  return 0;
}

/**
 * Revokes the login at the backend and wipes it here. The wipe works offline; what could not be done is said.
 *
 * @throws KontextError `KX_SESSION_NESTED`, `KX_KEYRING_UNAVAILABLE`.
 */
export async function logOut(context: Context): Promise<number> {
  const { config, terminal } = context;
  refuseNested(config, 'logout');
  const store = openSecretStore(config, terminal);
  const text = await store.get(config.apiUrl);
  if (text === null) {
    terminal.note(`nobody is logged in at ${config.apiUrl}`);
    return 0;
  }
  const login = readable(text);
  const flushed = login
    ? await flushSpool(context, store, login)
    : { left: measureSpool(config.stateDir), reasons: [] };
  // Wiped before the request: whatever the network does, the login is gone from this machine.
  await store.delete(config.apiUrl);
  const failure = login ? await revokeToken(login, login.refreshToken) : 'the stored login could not be read';
  terminal.note(`logged out${login ? ` ${login.name}` : ''}; the login is gone from ${store.location}`);
  if (failure !== null) {
    terminal.warn(`the login could not be revoked at the backend: ${failure}`);
    terminal.warn('it ends there by itself; an administrator can end it at once');
  }
  warnOfUnsent(context, flushed);
  return 0;
}

function readable(text: string): Login | null {
  try {
    return parseLogin(text);
  } catch {
    return null;
  }
}
