import { randomBytes } from 'node:crypto';
import { createId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { appendServerEvent } from '../audit/append-server-event.ts';
import type { Caller } from '../caller.ts';
import { sealAsRow } from '../kms/sealed-secrets.ts';
import { discover } from '../providers/discover.ts';
import type { ProviderKind } from '../providers/settings.ts';
import { insertConnection } from '../store/queries/connections.ts';
import {
  type AttachedAgentRow,
  attachProvider as attachRows,
  detachProvider as detachRow,
  findProvider,
  insertProvider,
  listAttachedAgents,
  listProviders as listProviderRows,
  lockProvider,
  type ProviderRow,
} from '../store/queries/providers.ts';
import { isUniqueViolation } from '../store/store-errors.ts';
import type { Tx } from '../store/tx.ts';
import type { ConnectionDeps } from './deps.ts';
import { makeConnection } from './make-connection.ts';
import { parseProvider } from './parse-provider.ts';
import { isProviderName, parseScopes } from './placeholder-parts.ts';
import type { AttachInput, ParsedProvider, ProviderInput } from './provider-input.ts';
import { requireAdministrator } from './roles.ts';
import { clientSecretContext } from './token-set.ts';

/** Agents every organisation has; in local mode each may use every provider. */
const builtInAgents = ['claude', 'run'] as const;

/** Kinds whose credentials come from the provider's own secret: one connection of the organisation stands for it. */
const selfConnected: ReadonlySet<ProviderKind> = new Set([
  'github_app',
  'aws_sts',
  'postgres',
  'token_exchange',
]);

/** A provider with the agents it is attached to. */
export type AttachedProvider = ProviderRow & { readonly agents: readonly AttachedAgentRow[] };

/** The URL to register at a provider: fixed, and with a part nobody can guess. Empty for a kind without a connect flow. */
export const callbackUrlOf = (apiUrl: string, { kind, callbackId }: ProviderRow): string =>
  kind === 'oauth2' ? `${apiUrl}/connect/callback/${callbackId}` : '';

/**
 * Adds a provider; its secret is sealed. One whose credentials come from that secret gets its connection at once.
 *
 * @throws KontextError `KX_FORBIDDEN` unless owner or admin, `KX_PROVIDER_INVALID`, `KX_REQUEST_INVALID`, `KX_AGENT_UNKNOWN`,
 *   `KX_PROVIDER_EXISTS`; `KX_PROVIDER_UNREACHABLE` when its issuer does not answer.
 */
export async function addProvider(
  deps: ConnectionDeps,
  caller: Caller,
  input: ProviderInput,
): Promise<AttachedProvider> {
  requireAdministrator(caller, 'add a provider');
  const agents = parseAttached(input.agents ?? []);
  const parsed = await parseProvider(input, {
    local: deps.local,
    discover: (issuer) => discover(deps.fetch, issuer),
  });
  const now = new Date(deps.nowMs());
  const { orgId } = caller;
  const id = createId('prv', now.getTime());
  const secret = await sealClientSecret(deps, orgId, id, parsed.clientSecret, now);
  const row = makeProvider({ ...parsed, id, orgId, clientSecretId: secret?.id ?? null, createdAt: now });
  try {
    const attached = await deps.store.transaction({ role: 'app', orgId }, async (tx) => {
      if (await findProvider(tx, orgId, row.name)) throw exists(row.name);
      await insertProvider(tx, row, secret);
      if (selfConnected.has(row.kind)) {
        const connected = { state: 'connected', connectedAt: now } as const;
        await insertConnection(tx, { ...makeConnection(row, null, 'default', now), ...connected });
      }
      return recordNewProvider(tx, deps, caller, { row, agents }, now);
    });
    deps.appended.notify(orgId);
    return { ...row, agents: attached };
  } catch (error) {
    throw isUniqueViolation(error) ? exists(row.name) : error;
  }
}

/** A provider row from checked parts; what is left out is empty. */
export function makeProvider(
  parts: Pick<ProviderRow, 'id' | 'orgId' | 'name' | 'kind' | 'clientSecretId' | 'createdAt'> &
    Partial<Omit<ParsedProvider, 'clientSecret' | 'name' | 'kind'>>,
): ProviderRow {
  const { id, orgId, name, kind, clientSecretId, createdAt, scopes = [] } = parts;
  const { authorizationEndpoint = '', tokenEndpoint = '', revocationEndpoint = '' } = parts;
  const { clientId = '', clientAuth = 'none', catalogueId = '', issuer = '', settings = '{}' } = parts;
  const { maxLoginAgeSeconds = null, approval = 'none', leaseTtlSeconds = 0 } = parts;
  return {
    ...{ id, orgId, name, kind, clientId, clientSecretId, clientAuth, createdAt },
    ...{ authorizationEndpoint, tokenEndpoint, revocationEndpoint, catalogueId, issuer, settings },
    ...{ maxLoginAgeSeconds, approval, leaseTtlSeconds, scopes: [...scopes] },
    callbackId: randomBytes(18).toString('base64url'),
  };
}

/**
 * Attaches a new provider as asked (in local mode, where nothing was asked, to the built-in agents), and records it; in the
 * transaction that stores it.
 *
 * @throws KontextError `KX_AGENT_UNKNOWN`.
 */
export async function recordNewProvider(
  tx: Tx,
  { local }: Pick<ConnectionDeps, 'local'>,
  { orgId, userId }: Caller,
  { row, agents }: { readonly row: ProviderRow; readonly agents: readonly AttachedAgentRow[] },
  now: Date,
): Promise<readonly AttachedAgentRow[]> {
  const byItself = local ? builtInAgents.map((agent) => ({ agent, scopes: null })) : [];
  const attached = agents.length > 0 ? agents : byItself;
  const unknown = await attachRows(tx, row, attached, now);
  if (agents.length > 0) refuseUnknownAgents(unknown);
  const { id, name, kind, catalogueId, issuer, clientId, scopes, settings } = row;
  const { authorizationEndpoint, tokenEndpoint, revocationEndpoint } = row;
  const { maxLoginAgeSeconds, approval, leaseTtlSeconds } = row;
  const facts = {
    ...{ provider: name, providerId: id, kind, catalogueId, attachedTo: attached.map(({ agent }) => agent) },
    ...{ maxLoginAgeSeconds, approval, leaseTtlSeconds },
    ...(kind === 'static' ? {} : { settings }),
    ...(kind === 'oauth2'
      ? { issuer, authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId, scopes }
      : {}),
  };
  const event = { kind: 'provider.added', user: userId, facts } as const;
  await appendServerEvent(tx, { orgId, sessionId: null }, event, now);
  return attached.filter(({ agent }) => !unknown.includes(agent));
}

async function sealClientSecret(
  { kms }: ConnectionDeps,
  orgId: string,
  providerId: string,
  clientSecret: string,
  now: Date,
) {
  if (clientSecret === '') return null;
  const plaintext = Buffer.from(clientSecret, 'utf8');
  const row = await sealAsRow(kms, clientSecretContext({ id: providerId, orgId }), plaintext, now);
  plaintext.fill(0);
  return row;
}

/** All providers of the caller's organisation with the agents they are attached to, by name. */
export const listProviders = ({ store }: ConnectionDeps, { orgId }: Caller): Promise<AttachedProvider[]> =>
  store.transaction({ role: 'read', orgId }, async (tx) => {
    const attached = await listAttachedAgents(tx, orgId);
    const rows = await listProviderRows(tx, orgId);
    return rows.map((row) => ({ ...row, agents: attached.get(row.id) ?? [] }));
  });

/**
 * Lets an agent have credentials of a provider, or changes up to which scopes.
 *
 * @param input `scopes` empty: no bound of its own.
 * @throws KontextError `KX_FORBIDDEN`, `KX_PROVIDER_UNKNOWN`, `KX_AGENT_UNKNOWN`, `KX_REQUEST_INVALID`.
 */
export async function attachProvider(
  deps: ConnectionDeps,
  caller: Caller,
  providerName: string,
  input: AttachInput,
): Promise<void> {
  requireAdministrator(caller, 'attach a provider');
  const agents = parseAttached([input]);
  await changeProvider(deps, caller, providerName, async (tx, row, now) => {
    refuseUnknownAgents(await attachRows(tx, row, agents, now));
    const scopes = agents[0]?.scopes ?? null;
    return { kind: 'provider.attached', facts: { agent: input.agent, scopes } };
  });
}

/**
 * Takes a provider away from an agent; what the agent holds of it ends.
 *
 * @returns How many leases that were.
 * @throws KontextError `KX_FORBIDDEN`, `KX_PROVIDER_UNKNOWN`, `KX_PROVIDER_NOT_ATTACHED`.
 */
export async function detachProvider(
  deps: ConnectionDeps,
  caller: Caller,
  providerName: string,
  agent: string,
): Promise<number> {
  requireAdministrator(caller, 'detach a provider');
  let leasesEnded = 0;
  await changeProvider(deps, caller, providerName, async (tx, row, now) => {
    const ended = isAgentName(agent) ? await detachRow(tx, row, agent, now) : null;
    if (ended === null) {
      throw new KontextError('KX_PROVIDER_NOT_ATTACHED', `${row.name} is not attached to that agent`, {
        hint: 'run `kontext providers ls`',
      });
    }
    leasesEnded = ended;
    return { kind: 'provider.detached', facts: { agent, leasesEnded } };
  });
  return leasesEnded;
}

interface Change {
  readonly kind: 'provider.attached' | 'provider.detached';
  readonly facts: Readonly<Record<string, unknown>>;
}

/** One change of a provider that exists, recorded. */
async function changeProvider(
  deps: ConnectionDeps,
  { orgId, userId }: Caller,
  name: string,
  change: (tx: Tx, row: ProviderRow, now: Date) => Promise<Change>,
): Promise<void> {
  if (!isProviderName(name)) throw unknownProvider(name);
  const now = new Date(deps.nowMs());
  await deps.store.transaction({ role: 'app', orgId }, async (tx) => {
    const row = await lockProvider(tx, orgId, name);
    if (row === null) throw unknownProvider(name);
    const { kind, facts } = await change(tx, row, now);
    const event = { kind, user: userId, facts: { provider: name, providerId: row.id, ...facts } };
    await appendServerEvent(tx, { orgId, sessionId: null }, event, now);
  });
  deps.appended.notify(orgId);
}

const isAgentName = (name: string): boolean => /^[a-z0-9][a-z0-9-]{0,62}$/.test(name);

/** @throws KontextError `KX_AGENT_UNKNOWN`, `KX_REQUEST_INVALID`. */
function parseAttached(agents: readonly AttachInput[]): AttachedAgentRow[] {
  refuseUnknownAgents(agents.map(({ agent }) => agent).filter((agent) => !isAgentName(agent)));
  if (agents.length > 100) {
    throw new KontextError('KX_REQUEST_INVALID', 'too many agents at once', { why: 'at most 100' });
  }
  return agents.map(({ agent, scopes }) => {
    const bound = parseScopes(scopes);
    return { agent, scopes: bound.length === 0 ? null : bound };
  });
}

function refuseUnknownAgents(names: readonly string[]): void {
  const [first] = names;
  if (first === undefined) return;
  const shown = isAgentName(first) ? ` named ${first}` : ' of that name';
  throw new KontextError('KX_AGENT_UNKNOWN', `the organisation has no agent${shown}`, {
    hint: 'run `kontext agents ls`',
  });
}

/** The error of a name that no provider has. */
export const unknownProvider = (name: string): KontextError =>
  new KontextError('KX_PROVIDER_UNKNOWN', `there is no provider named ${name.slice(0, 63)}`);

const exists = (name: string): KontextError =>
  new KontextError('KX_PROVIDER_EXISTS', `a provider named ${name} exists`);
