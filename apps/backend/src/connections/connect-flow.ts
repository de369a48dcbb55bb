/**
 * The person's half of connecting an OAuth provider (RFC 6749 §4.1, RFC 9700 §2.1, §4.4).
 *
 * A link is opened by the user it was made for, logged in at that browser. `state` is random, kept as a hash on the link's
 * row, and bound to the browser's session by its cookie: all three have to agree. The PKCE verifier is not stored: it is
 * derived from the browser's secret and `state`, so that neither the database nor the URL is enough to redeem a code. Every
 * provider has a callback URL of its own, which is the defence against mix-up (RFC 9700 §4.4.2.1), so `iss` is not looked at.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { KontextError } from '@kontext/errors';
import { appendServerEvent } from '../audit/append-server-event.ts';
import type { IssuedTokens, OAuth2Client } from '../providers/oauth2.ts';
import {
  consumeTicket,
  endConnection,
  findConnection,
  findOpenable,
  findTicket,
  type OpenableConnection,
  openTicket,
  replaceSecret,
  type TicketRow,
  updateConnection,
} from '../store/queries/connections.ts';
import { hashTicket } from './begin-connection.ts';
import type { ConnectionDeps } from './deps.ts';
import { callbackUrlOf } from './manage-providers.ts';
import { openClient, sealTokens } from './token-set.ts';

/** Who sits at which browser. */
export interface Opener {
  readonly userId: string;
  readonly orgId: string;
  /** Secret of the browser's session. */
  readonly browserId: string;
}

/** What a person is shown before they go to the provider. */
export interface LinkFacts {
  readonly provider: string;
  /** Host of the provider's authorization endpoint. */
  readonly host: string;
  readonly connectionName: string;
  /** Whether everybody in the organisation will use it. */
  readonly shared: boolean;
  /** What the provider will be asked for. */
  readonly scopes: readonly string[];
  /** What of that the connection has already; empty for a new one. */
  readonly granted: readonly string[];
}

/** The query of a callback, each parameter as it came; null when it is missing or stands there twice. */
export interface CallbackQuery {
  readonly state: string | null;
  readonly code: string | null;
  readonly error: string | null;
}

/** The three steps of the flow. */
export interface ConnectFlow {
  /** @throws KontextError `KX_CONNECT_LINK_EXPIRED`, or `KX_FORBIDDEN` when the link is somebody else's. */
  show(opener: Opener, ticket: string): Promise<LinkFacts>;
  /**
   * Binds the link to this browser and says where to go: the provider's authorization endpoint.
   *
   * @throws KontextError as `show`; `KX_CONNECT_LINK_EXPIRED` also when another browser has opened the link.
   */
  open(opener: Opener, ticket: string): Promise<string>;
  /**
   * Takes the provider's answer. The link is used up, whatever the answer is.
   *
   * @throws KontextError `KX_CONNECT_LINK_EXPIRED` when `state`, browser and link do not belong together; `KX_CONNECT_FAILED`
   *   when the provider refused; `KX_PROVIDER_UNREACHABLE` when it did not answer.
   */
  finish(opener: Opener, callbackId: string, query: CallbackQuery): Promise<{ readonly provider: string }>;
}

/** Creates the flow. */
export function createConnectFlow(deps: ConnectionDeps): ConnectFlow {
  return {
    show: async (opener, ticket) => {
      const { ticketRow, found } = await findLink(deps, opener, ticket);
      const { provider, connection } = found;
      return {
        provider: provider.name,
        host: new URL(provider.authorizationEndpoint).host,
        connectionName: connection.name,
        shared: connection.userId === null,
        scopes: ticketRow.scopes,
        granted: connection.state === 'connected' ? connection.scopes : [],
      };
    },
    open: async (opener, ticket) => {
      const { ticketRow, found } = await findLink(deps, opener, ticket);
      const state = randomBytes(32).toString('base64url');
      const bound = {
        browserHash: hashTicket(opener.browserId),
        stateHash: hashTicket(state),
        now: new Date(deps.nowMs()),
      };
      const opened = await deps.store.transaction({ role: 'app', orgId: opener.orgId }, (tx) =>
        openTicket(tx, ticketRow.ticketHash, bound),
      );
      if (!opened) throw linkExpired('it was opened in another browser');
      const client = await openClient(deps, found);
      return client.authorizationUrl({
        redirectUri: callbackUrlOf(deps.apiUrl, found.provider),
        state,
        codeVerifier: deriveVerifier(opener.browserId, state),
        scopes: ticketRow.scopes,
      });
    },
    finish: (opener, callbackId, query) => finish(deps, opener, callbackId, query),
  };
}

async function findLink(
  { store, nowMs }: ConnectionDeps,
  { userId, orgId }: Opener,
  ticket: string,
): Promise<{ ticketRow: TicketRow; found: OpenableConnection }> {
  const link = await store.transaction({ role: 'app', orgId }, async (tx) => {
    const ticketRow = await findTicket(tx, hashTicket(ticket), new Date(nowMs()));
    const found = ticketRow === null ? null : await findOpenable(tx, ticketRow.connectionId, false);
    return ticketRow === null || found === null ? null : { ticketRow, found };
  });
  // A link of another organisation is not even seen: the database hides it.
  if (link === null) throw linkExpired('it is older than 10 minutes, was used, or never existed');
  if (link.ticketRow.userId !== userId) {
    throw new KontextError('KX_FORBIDDEN', 'the link was made for another user', {
      why: 'the one who asked for the connection has to open it',
      hint: 'log in at this browser as the one who ran `kontext connect`',
    });
  }
  return link;
}

async function finish(
  deps: ConnectionDeps,
  opener: Opener,
  callbackId: string,
  query: CallbackQuery,
): Promise<{ readonly provider: string }> {
  const { found, scopes } = await takeLink(deps, opener, callbackId, query.state ?? '');
  const { name } = found.provider;
  try {
    if (query.error !== null) throw refusedBy(name, query.error);
    if (query.code === null || query.code.length > 4096) throw refusedBy(name, 'no usable code');
    const client = await openClient(deps, found);
    const verifier = deriveVerifier(opener.browserId, query.state ?? '');
    const issued = await client.exchangeCode(
      query.code,
      verifier,
      callbackUrlOf(deps.apiUrl, found.provider),
    );
    const named = await nameAccount(client, issued, found);
    await keepTokens(deps, opener, found.connection.id, named, scopes);
  } catch (error) {
    await recordFailure(deps, opener, found.connection.id, error);
    throw error;
  }
  deps.appended.notify(opener.orgId);
  return { provider: name };
}

/**
 * Fills in whose account it is where the token answer did not say, and the provider can be asked. A connection that had an
 * account is not kept without knowing that it is the same one: what was issued is then taken back, as well as it can be.
 */
async function nameAccount(
  client: OAuth2Client,
  issued: IssuedTokens,
  { connection: { account: before }, provider }: OpenableConnection,
): Promise<IssuedTokens> {
  if (issued.account !== null) return issued;
  try {
    const found = await client.whoAmI(issued.accessToken);
    const account = found?.works ? found.account : null;
    checkAccount(provider.name, before, account);
    return { ...issued, account };
  } catch (error) {
    if (before === null) return issued;
    await client.revokeGrant(issued).catch(() => undefined);
    throw error;
  }
}

/** Uses the link up and loads what it was for. */
async function takeLink(
  { store, nowMs }: ConnectionDeps,
  { userId, orgId, browserId }: Opener,
  callbackId: string,
  state: string,
): Promise<{ found: OpenableConnection; scopes: readonly string[] }> {
  const taken = await store.transaction({ role: 'app', orgId }, async (tx) => {
    const ticket = await consumeTicket(tx, hashTicket(state), hashTicket(browserId), new Date(nowMs()));
    const found = ticket === null ? null : await findOpenable(tx, ticket.connectionId, false);
    return ticket === null || found === null ? null : { ticket, found };
  });
  if (taken === null || taken.ticket.userId !== userId || taken.found.provider.callbackId !== callbackId) {
    throw linkExpired('the answer does not belong to a connection that this browser began');
  }
  return { found: taken.found, scopes: taken.ticket.scopes };
}

/** Stores the tokens and only then calls the connection connected. A refresh in between makes it try again. */
async function keepTokens(
  deps: ConnectionDeps,
  { orgId, userId }: Opener,
  connectionId: string,
  issued: IssuedTokens,
  asked: readonly string[],
): Promise<void> {
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const now = new Date(deps.nowMs());
    const current = await deps.store.transaction({ role: 'app', orgId }, (tx) =>
      findConnection(tx, connectionId),
    );
    if (current === null || current.connection.state === 'revoked') throw linkExpired('it was revoked');
    const { connection, provider } = current;
    checkAccount(provider.name, connection.account, issued.account);
    const next = { orgId, connectionId, fromVersion: connection.version };
    const { row } = await sealTokens(deps.kms, next, issued, null, now);
    const scopes = [...(issued.scopes ?? asked)];
    const change = {
      ...{ state: 'connected' as const, scopes, connectedAt: now, failure: null },
      ...{ account: issued.account ?? connection.account },
      accessExpiresAt: issued.expiresAtMs === null ? null : new Date(issued.expiresAtMs),
    };
    const stored = await deps.store.transaction({ role: 'app', orgId }, async (tx) => {
      if (!(await replaceSecret(tx, connectionId, connection.version, row, change))) return false;
      const event = {
        ...{ kind: 'connection.connected' as const, user: userId, lineage: { connection: connectionId } },
        facts: { provider: provider.name, name: connection.name, scopes, shared: connection.userId === null },
      };
      await appendServerEvent(tx, { orgId, sessionId: null }, event, now);
      return true;
    });
    if (stored) return;
  }
  throw new KontextError('KX_TEMPORARY', 'the connection changed while it was connected');
}

/** identity.md §5: another account behind the same connection would change whom agents act for, unseen. */
function checkAccount(provider: string, before: string | null, after: string | null): void {
  if (before === null || before === after) return;
  const what =
    after === null
      ? `${provider} did not say whose account logged in`
      : `another ${provider} account logged in than before`;
  throw new KontextError('KX_CONNECT_FAILED', what, {
    why: 'the connection belongs to the first one',
    hint: 'run `kontext connections revoke` first, or connect under another --name',
  });
}

/** Records why; a connection that never was connected ends, one that was stays as it is. */
async function recordFailure(
  deps: ConnectionDeps,
  { orgId, userId }: Opener,
  connectionId: string,
  error: unknown,
): Promise<void> {
  const now = new Date(deps.nowMs());
  const code = error instanceof KontextError ? error.code : 'KX_INTERNAL';
  const why = error instanceof KontextError ? error.why : 'unexpected failure';
  await deps.store.transaction({ role: 'app', orgId }, async (tx) => {
    const found = await findConnection(tx, connectionId);
    if (found === null) return;
    const { connection, provider } = found;
    if (connection.state === 'pending') await endConnection(tx, connection, 'connect_failed', now);
    await updateConnection(tx, connectionId, { failure: code });
    const event = {
      ...{ kind: 'connection.failed' as const, user: userId, lineage: { connection: connectionId } },
      facts: { provider: provider.name, name: connection.name, code, why },
    };
    await appendServerEvent(tx, { orgId, sessionId: null }, event, now);
  });
  deps.appended.notify(orgId);
}

/** RFC 7636 §4.1: 43 characters of base64url from 256 bits. */
const deriveVerifier = (browserId: string, state: string): string =>
  createHmac('sha256', browserId).update(`kontext-pkce-v1:${state}`).digest('base64url');

/** The provider's error name is shown (escaped by the page); its description is not, it could say anything. */
const refusedBy = (provider: string, error: string): KontextError =>
  new KontextError('KX_CONNECT_FAILED', `${provider} refused the connection`, {
    why: `it answered ${error.replace(/[^\x20-\x7e]/g, '?').slice(0, 100)}`,
    hint: `run \`kontext connect ${provider}\` again`,
  });

const linkExpired = (why: string): KontextError =>
  new KontextError('KX_CONNECT_LINK_EXPIRED', 'this connect link does not work', { why });
