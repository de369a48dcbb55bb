import { randomBytes } from 'node:crypto';
import { createId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { appendServerEvent } from '../audit/append-server-event.ts';
import type { Caller } from '../caller.ts';
import { sealAsRow } from '../kms/sealed-secrets.ts';
import {
  attachProvider,
  countConnections,
  deleteProvider,
  findProvider,
  insertProvider,
  listProviders as listProviderRows,
  lockProvider,
  type ProviderRow,
} from '../store/queries/providers.ts';
import { isUniqueViolation } from '../store/store-errors.ts';
import type { Tx } from '../store/tx.ts';
import type { ConnectionDeps } from './deps.ts';
import { isProviderName, type ParsedProvider, type ProviderInput, parseProvider } from './parse-provider.ts';
import { requireAdministrator } from './roles.ts';
import { clientSecretContext } from './token-set.ts';

/** Agents every organisation has; in local mode each may use every provider. */
const builtInAgents = ['claude', 'run'] as const;

/** The URL to register at a provider: fixed, and with a part nobody can guess. Empty for a static key. */
export const callbackUrlOf = (apiUrl: string, { kind, callbackId }: ProviderRow): string =>
  kind === 'oauth2' ? `${apiUrl}/connect/callback/${callbackId}` : '';

/**
 * Adds a provider; its client secret is sealed.
 *
 * @throws KontextError `KX_FORBIDDEN` unless owner or admin, `KX_PROVIDER_INVALID`, `KX_PROVIDER_EXISTS`.
 */
export async function addProvider(
  deps: ConnectionDeps,
  caller: Caller,
  input: ProviderInput,
): Promise<ProviderRow> {
  requireAdministrator(caller, 'add a provider');
  const parsed = parseProvider(input, deps.local);
  const now = new Date(deps.nowMs());
  const { orgId } = caller;
  const id = createId('prv', now.getTime());
  const secret = await sealClientSecret(deps, orgId, id, parsed.clientSecret, now);
  const row = makeProvider({ ...parsed, id, orgId, clientSecretId: secret?.id ?? null, createdAt: now });
  try {
    await deps.store.transaction({ role: 'app', orgId }, async (tx) => {
      if (await findProvider(tx, orgId, row.name)) throw exists(row.name);
      await insertProvider(tx, row, secret);
      await recordNewProvider(tx, deps, caller, row, now);
    });
  } catch (error) {
    throw isUniqueViolation(error) ? exists(row.name) : error;
  }
  deps.appended.notify(orgId);
  return row;
}

/** A provider row from checked parts. */
export function makeProvider(
  parts: Pick<ProviderRow, 'id' | 'orgId' | 'clientSecretId' | 'createdAt'> &
    Omit<ParsedProvider, 'clientSecret'>,
): ProviderRow {
  const { id, orgId, name, kind, clientSecretId, createdAt, clientId, clientAuth } = parts;
  const { authorizationEndpoint, tokenEndpoint, revocationEndpoint } = parts;
  return {
    ...{ id, orgId, name, kind, clientId, clientSecretId, clientAuth, createdAt },
    ...{ authorizationEndpoint, tokenEndpoint, revocationEndpoint },
    scopes: [...parts.scopes],
    callbackId: randomBytes(18).toString('base64url'),
    ...{
      catalogueId: '',
      issuer: '',
      settings: '{}',
      maxLoginAgeSeconds: null,
      approval: 'none',
      leaseTtlSeconds: 0,
    },
  };
}

/** Attaches a new provider where that is automatic, and records it; in the transaction that stores it. */
export async function recordNewProvider(
  tx: Tx,
  { local }: Pick<ConnectionDeps, 'local'>,
  { orgId, userId }: Caller,
  row: ProviderRow,
  now: Date,
): Promise<void> {
  const attachedTo = local ? builtInAgents : [];
  await attachProvider(tx, row, attachedTo, now);
  const { id, name, kind, authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId } = row;
  const facts = {
    ...{ provider: name, providerId: id, kind, attachedTo },
    ...(kind === 'static'
      ? {}
      : { authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId, scopes: row.scopes }),
  };
  const event = { kind: 'provider.added', user: userId, facts } as const;
  await appendServerEvent(tx, { orgId, sessionId: null }, event, now);
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

/** All providers of the caller's organisation, by name. */
export const listProviders = ({ store }: ConnectionDeps, { orgId }: Caller): Promise<ProviderRow[]> =>
  store.transaction({ role: 'read', orgId }, (tx) => listProviderRows(tx, orgId));

/**
 * Removes a provider; with `force` also its connections and their secrets. Leases of it end. What the provider itself still
 * honours is not revoked there: revoke connections one by one for that.
 *
 * @throws KontextError `KX_FORBIDDEN`, `KX_PROVIDER_UNKNOWN`, or without `force` `KX_PROVIDER_IN_USE`.
 */
export async function removeProvider(
  deps: ConnectionDeps,
  caller: Caller,
  name: string,
  force: boolean,
): Promise<void> {
  requireAdministrator(caller, 'remove a provider');
  if (!isProviderName(name)) throw unknownProvider(name);
  const now = new Date(deps.nowMs());
  const { orgId, userId } = caller;
  await deps.store.transaction({ role: 'app', orgId }, async (tx) => {
    const row = await lockProvider(tx, orgId, name);
    if (row === null) throw unknownProvider(name);
    const connections = await countConnections(tx, row.id);
    if (connections > 0 && !force) {
      throw new KontextError('KX_PROVIDER_IN_USE', `${name} still has connections`, {
        why: `there are ${connections}`,
      });
    }
    const leasesEnded = await deleteProvider(tx, row, now);
    const facts = { provider: name, providerId: row.id, connections, leasesEnded };
    const event = { kind: 'provider.removed', user: userId, facts } as const;
    await appendServerEvent(tx, { orgId, sessionId: null }, event, now);
  });
  deps.appended.notify(orgId);
}

/** The error of a name that no provider has. */
export const unknownProvider = (name: string): KontextError =>
  new KontextError('KX_PROVIDER_UNKNOWN', `there is no provider named ${name.slice(0, 63)}`);

const exists = (name: string): KontextError =>
  new KontextError('KX_PROVIDER_EXISTS', `a provider named ${name} exists`);
