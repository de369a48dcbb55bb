import { KontextError } from '@kontext/errors';
import { Secret } from '@kontext/redaction';
import { openClient, openClientSecret } from '../connections/token-set.ts';
import { mintRefused } from '../providers/minted/judge-answer.ts';
import { type Narrowing, narrowByScopes, narrowToken } from '../providers/narrow-token.ts';
import { quirksOf, requireSettings } from '../providers/quirks-of.ts';
import { findClientSecrets, type ProviderRow } from '../store/queries/providers.ts';
import type { SecretRow } from '../store/queries/secrets.ts';
import type { ExchangeDeps } from './exchange-request.ts';
import { sealKept } from './lease-secret.ts';

/** A token that only one lease has. */
export interface NarrowedForLease {
  readonly value: Secret;
  /** Null: the provider did not say. */
  readonly expiresAtMs: number | null;
  /** What it may do, as `permission:level`; null: the settings do not narrow permissions. */
  readonly scopes: readonly string[] | null;
  /** The token, sealed for the lease: revoking needs it. */
  readonly kept: SecretRow;
  /** Takes it back at once, as well as that goes. */
  readonly undo: () => Promise<void>;
}

/**
 * What a provider's tokens are narrowed to before they are handed out; null: they are not.
 *
 * @throws KontextError `KX_PROVIDER_INVALID` when its settings do not tell.
 */
export const narrowingOf = (provider: ProviderRow): Narrowing | null =>
  provider.kind === 'oauth2' ? (requireSettings(provider.settings).narrow ?? null) : null;

/**
 * Makes a token of one lease's own of the user's token.
 *
 * A crash between the provider's answer and our commit leaves a token nobody holds; it ends by itself.
 *
 * @param wanted Scopes of the placeholder; empty: all the settings give.
 * @throws KontextError as `narrowToken`; `KX_PROVIDER_INVALID` when the provider has no way to narrow; `KX_MINT_REFUSED` when what
 *   it made may do more than was asked for.
 */
export async function narrowForLease(
  deps: ExchangeDeps,
  lease: { readonly id: string; readonly provider: ProviderRow; readonly narrowing: Narrowing },
  wanted: readonly string[],
  accessToken: Secret,
): Promise<NarrowedForLease> {
  const { id, provider } = lease;
  const { name, orgId, clientId } = provider;
  const { narrowUrl } = quirksOf(provider);
  if (narrowUrl === '') {
    throw new KontextError('KX_PROVIDER_INVALID', `${name} has no way to narrow its tokens`);
  }
  const narrowing = narrowByScopes(lease.narrowing, wanted);
  const secrets = await deps.store.transaction({ role: 'app', orgId }, (tx) =>
    findClientSecrets(tx, [provider.id]),
  );
  const sealed = secrets.get(provider.id) ?? null;
  const clientSecret = sealed === null ? '' : await openClientSecret(deps.kms, provider, sealed);
  const from = { name, clientId, clientSecret, accessToken: accessToken.reveal() };
  const made = await narrowToken(deps, narrowUrl, from, narrowing);
  const undo = async (): Promise<void> => {
    const client = await openClient(deps, { provider, clientSecret: sealed });
    await client.revokeGrant({ accessToken: made.accessToken, refreshToken: null }).catch(() => undefined);
  };
  try {
    if (made.isWider) throw mintRefused(name, 'the token may do more than was asked for');
    const value = new Secret(made.accessToken);
    const kept = await sealKept(deps.kms, { id, orgId }, value, new Date(deps.nowMs()));
    const { permissions } = narrowing;
    const scopes = permissions && Object.entries(permissions).map(([what, level]) => `${what}:${level}`);
    return { value, expiresAtMs: made.expiresAtMs, scopes: scopes ?? null, kept, undo };
  } catch (error) {
    await undo();
    throw error;
  }
}
