import { setTimeout as sleep } from 'node:timers/promises';
import { KontextError } from '@kontext/errors';
import { ConnectionState } from '@kontext/protocol';
import type { Config } from '../config.ts';
import type { Context } from '../context.ts';
import { Interrupted } from '../interrupted.ts';
import { openBrowser } from '../login/open-browser.ts';
import type { Clients } from '../rpc/clients.ts';
import type { Terminal } from '../terminal.ts';

/** What to connect. */
export interface ConnectRequest {
  readonly clients: Clients;
  readonly config: Pick<Config, 'hasDisplay' | 'browser' | 'environment'>;
  readonly terminal: Terminal;
  readonly provider: string;
  /** Name of the connection; empty for the default one. */
  readonly name: string;
  readonly scopes: readonly string[];
  /** Ask for `scopes` besides those it has; default false. */
  readonly addScopes?: boolean;
  /** For the whole organisation; default false. */
  readonly shared?: boolean;
  readonly browser: boolean;
  readonly signal: AbortSignal;
  /** Default 1.5 s. */
  readonly pollMs?: number;
}

const longestWaitMs = 600_000;

/**
 * Begins a connection, shows its link, opens it where there is a display, and returns the wait for it.
 *
 * @returns The link, and `wait`, which ends when a person has connected the provider.
 * @throws KontextError what the backend answers, such as `KX_PROVIDER_UNKNOWN`.
 */
export async function beginConnection(
  request: ConnectRequest,
): Promise<{ readonly uri: string; wait(): Promise<void> }> {
  const { clients, config, terminal, provider, signal, addScopes = false, shared = false } = request;
  const begun = await clients.connections.beginConnection(
    { provider, name: request.name, scopes: [...request.scopes], addScopes, shared },
    { signal },
  );
  const before = await clients.connections.getConnection({ connectionId: begun.connectionId }, { signal });
  terminal.say(`open this link to connect ${provider}: ${begun.connectUri}`);
  if (request.browser && terminal.interactive && config.hasDisplay) openBrowser(begun.connectUri, config);
  const waitMs = Math.min(begun.expiresIn > 0 ? begun.expiresIn * 1000 : longestWaitMs, longestWaitMs);
  const connectedBefore = connectedAt(before.connection);
  return {
    uri: begun.connectUri,
    wait: () => waitConnected(request, begun.connectionId, connectedBefore, waitMs),
  };
}

/** How a command waits for the person. */
export interface WaitOptions {
  /** Wait also without a terminal. */
  readonly wait?: boolean;
  /** Open a browser where there is a display. */
  readonly browser: boolean;
}

/**
 * Shows the link that connects a provider and waits until a person has used it; what the connection may do already is kept.
 *
 * @returns Exit code 0.
 * @throws KontextError `KX_INPUT_NEEDED` (77) without a terminal, unless `wait`; `KX_CONNECT_LINK_EXPIRED`.
 */
export async function connectAndWait(
  { config, terminal, signal }: Pick<Context, 'config' | 'terminal' | 'signal'>,
  clients: Clients,
  target: Required<Pick<ConnectRequest, 'provider' | 'name' | 'scopes' | 'shared'>>,
  { browser, wait = false }: WaitOptions,
): Promise<number> {
  const request = { clients, config, terminal, ...target, addScopes: true, browser, signal };
  const connection = await beginConnection(request);
  if (!terminal.interactive && !wait) {
    throw new KontextError('KX_INPUT_NEEDED', `a person has to open the link to connect ${target.provider}`, {
      hint: 'open the link above, or pass --wait',
    });
  }
  await connection.wait();
  terminal.note(`${target.provider} is connected`);
  return 0;
}

/** Polls until the connection is connected, or for one that was before, connected anew. */
async function waitConnected(
  request: ConnectRequest,
  connectionId: string,
  connectedBefore: string,
  waitMs: number,
): Promise<void> {
  const { clients, terminal, provider, signal } = request;
  const until = performance.now() + waitMs;
  try {
    while (performance.now() < until) {
      const left = Math.ceil((until - performance.now()) / 1000);
      terminal.status(
        `waiting for ${provider} … ${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')} left`,
      );
      await sleep(request.pollMs ?? 1_500, undefined, { signal });
      const { connection } = await clients.connections.getConnection({ connectionId }, { signal });
      if (connection?.state === ConnectionState.REVOKED) {
        throw new KontextError('KX_CONNECT_FAILED', `${provider} was not connected`);
      }
      const at = connectedAt(connection);
      if (at !== '' && at !== connectedBefore) return;
    }
  } catch (error) {
    if (signal.aborted) throw new Interrupted();
    throw error;
  } finally {
    terminal.status(null);
  }
  throw new KontextError('KX_CONNECT_LINK_EXPIRED', `${provider} was not connected in time`);
}

/** The instant it was connected as text, empty while it is not. */
function connectedAt(
  connection:
    | { state: ConnectionState; connectedAt?: { seconds: bigint; nanos: number } | undefined }
    | undefined,
): string {
  if (connection?.state !== ConnectionState.CONNECTED) return '';
  return `${connection.connectedAt?.seconds ?? 0n}.${connection.connectedAt?.nanos ?? 0}`;
}
