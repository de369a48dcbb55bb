import { createHash, randomBytes } from 'node:crypto';
import { KontextError } from '@kontext/errors';
import { appendServerEvents, type ServerEvent } from '../audit/append-server-event.ts';
import type { Caller } from '../caller.ts';
import {
  type ConnectionRow,
  insertConnection,
  insertTicket,
  lockConnectionByName,
} from '../store/queries/connections.ts';
import { findProvider, type ProviderRow } from '../store/queries/providers.ts';
import { isOvertaken } from '../store/store-errors.ts';
import type { Tx } from '../store/tx.ts';
import type { ConnectionDeps } from './deps.ts';
import { makeConnection } from './make-connection.ts';
import { unknownProvider } from './manage-providers.ts';
import { isProviderName, parseConnectionName, parseScopes } from './placeholder-parts.ts';
import { requireAdministrator } from './roles.ts';

/** Seconds for which a connect link works. */
export const connectLinkSeconds = 600;

/** A link a person opens, once. */
export interface ConnectLink {
  readonly connectionId: string;
  readonly connectUri: string;
  readonly expiresInSeconds: number;
}

/** What to connect. */
export interface BeginInput {
  readonly provider: string;
  /** Empty: `default`. */
  readonly name: string;
  /** Empty: those of the provider. */
  readonly scopes: readonly string[];
  /** Of the organisation instead of the caller's own; default false. */
  readonly shared?: boolean;
  /** Ask for `scopes` besides those the connection has already; default false. */
  readonly addScopes?: boolean;
}

/** How a value that travels through a browser is kept: only its hash. */
export const hashTicket = (value: string): string => createHash('sha256').update(value).digest('base64url');

/**
 * Begins a connection, the caller's own or a shared one: makes it, pending, when it does not exist, and a link that connects
 * it. Whoever asked opens the link, also for a shared one.
 *
 * @throws KontextError `KX_PROVIDER_UNKNOWN`; `KX_PROVIDER_INVALID` for a provider nobody logs in to; `KX_SCOPE_EXCEEDED` for
 *   a scope the provider was not added with; `KX_FORBIDDEN` when somebody but an owner or admin shares; `KX_REQUEST_INVALID`.
 */
export async function beginConnection(
  deps: ConnectionDeps,
  caller: Caller,
  input: BeginInput,
): Promise<ConnectLink> {
  const name = parseConnectionName(input.name);
  const scopes = parseScopes(input.scopes);
  const { orgId } = caller;
  if (input.shared) requireAdministrator(caller, 'share a connection with the organisation');
  const target = {
    name,
    scopes,
    owner: input.shared ? null : caller.userId,
    addScopes: input.addScopes ?? false,
  };
  const begin = () =>
    deps.store.transaction({ role: 'app', orgId }, async (tx) => {
      const provider = isProviderName(input.provider) ? await findProvider(tx, orgId, input.provider) : null;
      if (provider === null) throw unknownProvider(input.provider);
      const [link] = await insertLinks(tx, deps, caller, [{ provider, ...target }]);
      if (link === undefined) throw new KontextError('KX_INTERNAL', 'no connect link was made');
      return link;
    });
  // Two that begin the same connection at once: the second finds the first one's. One whose provider has just been removed
  // finds none.
  const again = (error: unknown) => {
    if (isOvertaken(error)) return begin();
    throw error;
  };
  const link = await begin().catch(again).catch(again);
  deps.appended.notify(orgId);
  return link;
}

/** One link to make. */
export interface WantedLink {
  readonly provider: ProviderRow;
  readonly name: string;
  /** Whose connection; null: the organisation's. */
  readonly owner: string | null;
  /** Checked; empty: those of the provider. */
  readonly scopes: readonly string[];
  /** Besides those the connection has already. */
  readonly addScopes: boolean;
}

/**
 * Makes links for OAuth providers and records them, in the caller's transaction; call it last there.
 *
 * @throws KontextError `KX_PROVIDER_INVALID`, `KX_SCOPE_EXCEEDED`.
 */
export async function insertLinks(
  tx: Tx,
  { nowMs, apiUrl }: Pick<ConnectionDeps, 'nowMs' | 'apiUrl'>,
  { orgId, userId }: Pick<Caller, 'orgId' | 'userId'>,
  wanted: readonly WantedLink[],
): Promise<ConnectLink[]> {
  const now = new Date(nowMs());
  const links: ConnectLink[] = [];
  const events: ServerEvent[] = [];
  for (const { provider, name, owner, ...asked } of wanted) {
    checkAsked(provider, asked.scopes);
    const connection = await findOrInsert(tx, provider, owner, name, now);
    const scopes = chooseScopes(provider, connection, asked);
    const ticket = randomBytes(32).toString('base64url');
    await insertTicket(tx, {
      ...{ ticketHash: hashTicket(ticket), orgId, userId, connectionId: connection.id, scopes: [...scopes] },
      ...{ stateHash: null, browserHash: null, verifierSecretId: null, openedAt: null, consumedAt: null },
      ...{ createdAt: now, expiresAt: new Date(now.getTime() + connectLinkSeconds * 1000) },
    });
    const connectUri = `${apiUrl}/connect/${ticket}`;
    links.push({ connectionId: connection.id, connectUri, expiresInSeconds: connectLinkSeconds });
    events.push({
      ...{ kind: 'connection.begun', user: userId, lineage: { connection: connection.id } },
      facts: { provider: provider.name, name, scopes, shared: owner === null },
    });
  }
  await appendServerEvents(tx, { orgId, sessionId: null }, events, now);
  return links;
}

/** With an empty `asked` whatever the provider was added with; to a connection that works, only what it lacks is added. */
function chooseScopes(
  provider: ProviderRow,
  connection: ConnectionRow,
  { scopes, addScopes }: Pick<WantedLink, 'scopes' | 'addScopes'>,
): readonly string[] {
  if (scopes.length === 0) return provider.scopes;
  return addScopes ? [...new Set([...connection.scopes, ...scopes])] : scopes;
}

function checkAsked(provider: ProviderRow, asked: readonly string[]): void {
  if (provider.kind === 'static') {
    throw new KontextError('KX_PROVIDER_INVALID', `${provider.name} takes a static key`, {
      why: 'there is nothing to log in to',
      hint: `run \`kontext secrets put ${provider.name}\``,
    });
  }
  if (provider.kind !== 'oauth2') {
    throw new KontextError('KX_PROVIDER_INVALID', `${provider.name} makes its credentials by itself`, {
      why: 'an administrator set it up for everybody; nobody logs in to it',
      hint: 'use it: a placeholder is all it needs',
    });
  }
  // What an administrator added the provider with is the most a connection may have; an empty list says nothing.
  const excess = provider.scopes.length === 0 ? [] : asked.filter((s) => !provider.scopes.includes(s));
  if (excess.length === 0) return;
  throw new KontextError('KX_SCOPE_EXCEEDED', `${provider.name} was added without ${excess.join(' ')}`, {
    hint: `ask for some of: ${provider.scopes.join(' ')}`,
  });
}

async function findOrInsert(
  tx: Tx,
  provider: ProviderRow,
  owner: string | null,
  name: string,
  now: Date,
): Promise<ConnectionRow> {
  const known = await lockConnectionByName(tx, provider.id, owner, name);
  if (known) return known;
  const made = makeConnection(provider, owner, name, now);
  await insertConnection(tx, made);
  return made;
}
