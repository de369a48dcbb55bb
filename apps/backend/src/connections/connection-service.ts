import { isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { Caller } from '../caller.ts';
import type { TokenTest } from '../providers/try-token.ts';
import {
  type ConnectionOfProvider,
  findListed,
  type ListedConnection,
  listConnections,
} from '../store/queries/connections.ts';
import type { ProviderRow } from '../store/queries/providers.ts';
import { type BeginInput, beginConnection, type ConnectLink } from './begin-connection.ts';
import { type ConnectFlow, createConnectFlow } from './connect-flow.ts';
import type { ConnectionDeps } from './deps.ts';
import { createFreshTokens, type FreshTokens } from './fresh-tokens.ts';
import {
  type AttachedProvider,
  addProvider,
  attachProvider,
  callbackUrlOf,
  detachProvider,
  listProviders,
} from './manage-providers.ts';
import type { AttachInput, ProviderInput } from './provider-input.ts';
import { putSecret, type SecretInput } from './put-secret.ts';
import { type RemoveResult, removeProvider } from './remove-provider.ts';
import { type RevokeResult, revokeConnection } from './revoke-connection.ts';
import { isAdministrator } from './roles.ts';
import { testConnection } from './try-connection.ts';

/** Providers and connections as their edges use them. What each function refuses is said where it is written. */
export interface ConnectionService {
  addProvider(caller: Caller, input: ProviderInput): Promise<AttachedProvider>;
  listProviders(caller: Caller): Promise<AttachedProvider[]>;
  removeProvider(caller: Caller, name: string, force: boolean): Promise<RemoveResult>;
  attachProvider(caller: Caller, provider: string, input: AttachInput): Promise<void>;
  /** @returns How many leases ended with it. */
  detachProvider(caller: Caller, provider: string, agent: string): Promise<number>;
  /** URL to register at the provider; empty for a static one. */
  callbackUrl(provider: ProviderRow): string;
  begin(caller: Caller, input: BeginInput): Promise<ConnectLink>;
  /** @throws KontextError `KX_CONNECTION_NOT_FOUND` when there is none, or it is another user's. */
  get(caller: Caller, connectionId: string): Promise<ListedConnection>;
  /** The caller's own and the shared ones that are not revoked. */
  list(caller: Caller): Promise<ListedConnection[]>;
  revoke(caller: Caller, connectionId: string): Promise<RevokeResult>;
  /** @throws KontextError `KX_CONNECTION_NOT_FOUND` as `get`. */
  test(caller: Caller, connectionId: string): Promise<TokenTest>;
  putSecret(caller: Caller, input: SecretInput): Promise<ConnectionOfProvider>;
  /** The pages' half. */
  readonly flow: ConnectFlow;
  readonly tokens: FreshTokens;
}

/** Puts providers and connections together. */
export function createConnectionService(deps: ConnectionDeps): ConnectionService {
  const tokens = createFreshTokens(deps);
  return {
    addProvider: (caller, input) => addProvider(deps, caller, input),
    listProviders: (caller) => listProviders(deps, caller),
    removeProvider: (caller, name, force) => removeProvider(deps, caller, name, force),
    attachProvider: (caller, provider, input) => attachProvider(deps, caller, provider, input),
    detachProvider: (caller, provider, agent) => detachProvider(deps, caller, provider, agent),
    callbackUrl: (provider) => callbackUrlOf(deps.apiUrl, provider),
    begin: (caller, input) => beginConnection(deps, caller, input),
    get: (caller, connectionId) => getConnection(deps, caller, connectionId),
    list: (caller) =>
      deps.store.transaction({ role: 'read', orgId: caller.orgId }, (tx) =>
        listConnections(tx, caller.userId),
      ),
    revoke: (caller, connectionId) => revokeConnection(deps, caller, connectionId),
    test: async (caller, connectionId) =>
      testConnection({ ...deps, tokens }, await getConnection(deps, caller, connectionId)),
    putSecret: (caller, input) => putSecret(deps, caller, input),
    flow: createConnectFlow(deps),
    tokens,
  };
}

/** @throws KontextError `KX_CONNECTION_NOT_FOUND`. */
async function getConnection(
  { store }: ConnectionDeps,
  caller: Caller,
  connectionId: string,
): Promise<ListedConnection> {
  const found = isId('con', connectionId)
    ? await store.transaction({ role: 'read', orgId: caller.orgId }, (tx) => findListed(tx, connectionId))
    : null;
  const owner = found?.connection.userId ?? null;
  if (found !== null && (owner === null || owner === caller.userId || isAdministrator(caller))) return found;
  throw new KontextError('KX_CONNECTION_NOT_FOUND', 'there is no such connection, or it is not yours');
}
