import { createId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { appendServerEvent } from '../audit/append-server-event.ts';
import type { Caller } from '../caller.ts';
import {
  type ConnectionOfProvider,
  findConnection,
  insertConnection,
  lockConnectionByName,
  replaceSecret,
} from '../store/queries/connections.ts';
import { findProvider, insertProvider, type ProviderRow } from '../store/queries/providers.ts';
import { isOvertaken } from '../store/store-errors.ts';
import type { Tx } from '../store/tx.ts';
import type { ConnectionDeps } from './deps.ts';
import { makeConnection } from './make-connection.ts';
import { makeProvider, recordNewProvider } from './manage-providers.ts';
import { isProviderName, parseConnectionName } from './placeholder-parts.ts';
import { isAdministrator, requireAdministrator } from './roles.ts';
import { sealConnection } from './token-set.ts';

/** A static key to store. */
export interface SecretInput {
  readonly provider: string;
  /** Empty: `default`. */
  readonly name: string;
  readonly value: string;
  /** True: of the organisation. */
  readonly shared: boolean;
}

const maxSecretBytes = 64 * 1024;

/**
 * Stores a static key, or a new one in place of the old. Makes the static provider when there is none of that name, and
 * the connection.
 *
 * @throws KontextError `KX_SECRET_INVALID` when it is empty, larger than 64 KiB, or not text that an environment can hold.
 * @throws KontextError `KX_FORBIDDEN` when somebody but an owner or admin shares it, or needs the provider to be made.
 * @throws KontextError `KX_PROVIDER_INVALID` when the provider is an OAuth one.
 */
export async function putSecret(
  deps: ConnectionDeps,
  caller: Caller,
  input: SecretInput,
): Promise<ConnectionOfProvider> {
  const name = parseConnectionName(input.name);
  const value = checkValue(input.value);
  if (!isProviderName(input.provider)) {
    throw new KontextError('KX_PROVIDER_INVALID', 'the provider name cannot be used', {
      why: 'it must be lower-case letters, digits and hyphens, at most 63',
    });
  }
  if (input.shared) requireAdministrator(caller, 'share a secret with the organisation');
  const owner = input.shared ? null : caller.userId;
  for (let attempt = 0; attempt < 4; attempt += 1) {
    const stored = await putOnce(deps, caller, { ...input, name, owner, value }).catch((error: unknown) => {
      // Somebody else made the provider or the connection at the same moment: it is found on the next try.
      if (isOvertaken(error)) return null;
      throw error;
    });
    if (stored === null) continue;
    value.fill(0);
    deps.appended.notify(caller.orgId);
    return stored;
  }
  throw new KontextError('KX_TEMPORARY', 'the secret was changed by somebody else at the same time');
}

interface CheckedInput {
  readonly provider: string;
  readonly name: string;
  readonly owner: string | null;
  readonly value: Buffer;
}

/** @returns Null when somebody else changed the connection in between. */
async function putOnce(
  deps: ConnectionDeps,
  caller: Caller,
  { provider: providerName, name, owner, value }: CheckedInput,
): Promise<ConnectionOfProvider | null> {
  const now = new Date(deps.nowMs());
  const { orgId } = caller;
  const scope = { role: 'app', orgId } as const;
  const target = await deps.store.transaction(scope, async (tx) => {
    const provider = await findOrMakeProvider(tx, deps, caller, providerName, now);
    const known = await lockConnectionByName(tx, provider.id, owner, name);
    return {
      provider,
      connection: known ?? makeConnection(provider, owner, name, now),
      isNew: known === null,
    };
  });
  const { provider, connection, isNew } = target;
  // Sealed between two transactions: the key service may be across a network.
  const next = { orgId, connectionId: connection.id, fromVersion: connection.version };
  const row = await sealConnection(deps.kms, next, Buffer.from(value), now);
  return deps.store.transaction(scope, async (tx) => {
    if (isNew) await insertConnection(tx, connection);
    const change = { state: 'connected' as const, connectedAt: now, failure: null };
    if (!(await replaceSecret(tx, connection.id, connection.version, row, change))) return null;
    const event = {
      ...{ kind: 'secret.put' as const, user: caller.userId, lineage: { connection: connection.id } },
      facts: { provider: provider.name, name, shared: owner === null, version: row.version },
    };
    await appendServerEvent(tx, { orgId, sessionId: null }, event, now);
    return findConnection(tx, connection.id);
  });
}

async function findOrMakeProvider(
  tx: Tx,
  deps: ConnectionDeps,
  caller: Caller,
  name: string,
  now: Date,
): Promise<ProviderRow> {
  const known = await findProvider(tx, caller.orgId, name);
  if (known?.kind === 'static') return known;
  if (known) {
    throw new KontextError('KX_PROVIDER_INVALID', `${name} is an OAuth provider`, {
      why: 'a static key does not fit it',
      hint: `run \`kontext connect ${name}\``,
    });
  }
  if (!isAdministrator(caller)) {
    throw new KontextError(
      'KX_FORBIDDEN',
      `there is no provider named ${name}, and only an owner or admin may add it`,
      {
        why: `your role is ${caller.role}`,
      },
    );
  }
  const id = createId('prv', now.getTime());
  const made = makeProvider({
    ...{ id, orgId: caller.orgId, name, kind: 'static', clientSecretId: null, createdAt: now },
  });
  await insertProvider(tx, made, null);
  await recordNewProvider(tx, deps, caller, { row: made, agents: [] }, now);
  return made;
}

function checkValue(text: string): Buffer {
  const value = Buffer.from(text, 'utf8');
  if (value.length === 0 || value.length > maxSecretBytes) {
    throw new KontextError('KX_SECRET_INVALID', 'the secret cannot be stored', {
      why: 'it must have 1 byte to 64 KiB',
    });
  }
  if (!text.includes('\0')) return value;
  throw new KontextError('KX_SECRET_INVALID', 'the secret cannot be stored', {
    why: 'it holds NUL, which no environment variable can',
  });
}
